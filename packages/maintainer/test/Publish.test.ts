import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { Publish } from "../src/Publish.ts"
import {
  beginRun,
  empty,
  line,
  product,
  products,
  services,
  snapshotOf,
  stageAll,
  stagedRun,
  sync,
  unstorable,
  writeSnapshot
} from "./Fixture.ts"

const rows = Effect.gen(function* () {
  const sql = yield* SqlClient
  return yield* sql<{ id: string; xmin: string; removed: boolean; price: number | null }>`
    SELECT id, xmin::text, removed_at IS NOT NULL AS removed, public_price_cents AS price
    FROM public.products ORDER BY id`
})

const changes = (runId: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) =>
      sql<{ id: string; change: string; keys: ReadonlyArray<string> | null; before: Record<string, unknown> | null }>`
        SELECT product_id AS id, change, changed_keys AS keys, before FROM medipim.product_changes
        WHERE run_id = ${runId} ORDER BY product_id`
  )

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("Publish", (it) => {
  it.effect("publishes every product of the first snapshot", () =>
    Effect.gen(function* () {
      yield* empty
      const { counts, published, warnings } = yield* sync(products(50))
      assert.isTrue(published)
      assert.deepStrictEqual(warnings, [])
      assert.deepInclude(counts, { records: 50, inserted: 50, updated: 0, unchanged: 0, removed: 0, rejected: 0 })
      const stored = yield* rows
      assert.deepStrictEqual(
        stored.map(({ id, price }) => [id, price]),
        products(50).map(({ id, publicPrice }) => [id, publicPrice])
      )
    })
  )

  it.effect("touches no row when nothing changed, though every embedUrl is new", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const before = yield* rows
      const { runId, counts } = yield* sync(products(30))
      assert.deepInclude(counts, { unchanged: 30, inserted: 0, updated: 0 })
      assert.deepStrictEqual(yield* rows, before)
      assert.deepStrictEqual(yield* changes(runId), [])
    })
  )

  it.effect("writes exactly the changed, removed and new rows, and says how they changed", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(40))
      const before = new Map((yield* rows).map((row) => [row.id, row.xmin]))
      const later = { createdAt: 1_700_000_003, updatedAt: 1_800_000_000 }
      const next = [
        ...products(40).filter((_, n) => n !== 3 && n !== 5),
        product(3, { publicPrice: 999, status: "inactive", meta: later }),
        product(77)
      ]
      const { runId, counts } = yield* sync(next)
      assert.deepInclude(counts, { inserted: 1, updated: 1, removed: 1, unchanged: 38 })
      const touched = (yield* rows).filter(({ id, xmin }) => before.get(id) !== xmin)
      assert.deepStrictEqual(
        touched.map(({ id, removed, price }) => [id, removed, price]),
        [
          ["M000000003", false, 999],
          ["M000000005", true, 105],
          ["M000000077", false, 177]
        ]
      )
      assert.deepStrictEqual(
        (yield* changes(runId)).map(({ id, change, keys, before }) => [id, change, keys, before]),
        [
          [
            "M000000003",
            "updated",
            ["meta", "publicPrice", "status"],
            { meta: { createdAt: 1_700_000_003, updatedAt: 1_700_000_003 }, publicPrice: 103, status: "active" }
          ],
          ["M000000005", "removed", null, null],
          ["M000000077", "inserted", null, null]
        ]
      )
    })
  )

  it.effect("restores a product that comes back", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      yield* sync(products(29))
      const { runId, counts } = yield* sync(products(30))
      assert.deepInclude(counts, { restored: 1, unchanged: 29, removed: 0 })
      assert.isTrue((yield* rows).every(({ removed }) => !removed))
      assert.deepStrictEqual(
        (yield* changes(runId)).map(({ id, change }) => [id, change]),
        [["M000000029", "restored"]]
      )
    })
  )

  it.effect("brakes before a removal of more than 5 %, and goes on with force", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(40))
      const before = yield* rows
      const refused = yield* Effect.flip(sync(products(37)))
      assert.strictEqual(refused._tag, "PublishRefused")
      if (refused._tag === "PublishRefused") assert.strictEqual(refused.reason, "too-many-removed")
      assert.deepStrictEqual(yield* rows, before)
      assert.strictEqual((yield* sync(products(37), { force: true })).counts.removed, 3)
    })
  )

  it.effect("counts a dry run as the publish after it and writes nothing", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(40))
      const before = yield* rows
      const next = [...products(39), product(88), product(89)]
      const dry = yield* sync(next, { dryRun: true })
      assert.isFalse(dry.published)
      assert.deepStrictEqual(yield* rows, before)
      assert.deepStrictEqual(yield* changes(dry.runId), [])
      assert.deepStrictEqual((yield* sync(next)).counts, dry.counts)
    })
  )

  it.effect("takes the newest snapshot for the truth, and tells how many products went back in time", () =>
    Effect.gen(function* () {
      yield* empty
      const wrong = product(4, { publicPrice: 1, meta: { createdAt: 1_700_000_004, updatedAt: 4_102_444_800 } })
      yield* sync(products(20).map((source, n) => (n === 4 ? wrong : source)))
      const { counts, warnings } = yield* sync(products(20))
      assert.deepInclude(counts, { stale: 0, unchanged: 19, updated: 1 })
      assert.strictEqual((yield* rows)[4]?.price, 104)
      assert.match(warnings.join(), /^1 products went back in time \(for example M000000004\)/)
      assert.deepStrictEqual((yield* sync(products(20))).warnings, [])
    })
  )

  it.effect("lets an older snapshot overwrite only what it says it is later than, and tells what it adds", () =>
    Effect.gen(function* () {
      yield* empty
      const { createdAt, updatedAt } = product(4).meta as { readonly createdAt: number; readonly updatedAt: number }
      const ages: ReadonlyArray<readonly [stored: number | null, ofLine: number | null, price: number]> = [
        [updatedAt + 1, updatedAt, 104],
        [updatedAt, updatedAt, 104],
        [updatedAt, null, 104],
        [updatedAt, updatedAt + 1, 1],
        // Nothing tells that what is stored is newer: a way back for who has taken the age away.
        [null, updatedAt, 1],
        [null, null, 1]
      ]
      for (const [stored, ofLine, price] of ages) {
        const older = yield* snapshotOf([
          product(4, { publicPrice: 1, meta: { createdAt, updatedAt: ofLine } }),
          product(21)
        ])
        yield* empty
        yield* sync([product(4, { meta: { createdAt, updatedAt: stored } })], { force: true })
        const runId = yield* beginRun()
        yield* stageAll(runId, older)
        const { counts, warnings } = yield* (yield* Publish).run({ runId, snapshotId: older })
        const at = JSON.stringify([stored, ofLine])
        assert.deepInclude(counts, price === 1 ? { stale: 0, updated: 1 } : { stale: 1, updated: 0 }, at)
        assert.strictEqual((yield* rows)[0]?.price, price, at)
        assert.match(
          warnings.join(" "),
          /1 products were added and 0 restored from this snapshot, which is older than /
        )
      }
    })
  )

  it.effect("rejects what it cannot store, keeps its product, and publishes the others", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(120))
      const next = products(120).map((source, n) => (n === 9 ? { ...source, ...unstorable } : source))
      const { runId, counts, warnings } = yield* sync(next)
      assert.deepInclude(counts, { rejected: 1, unchanged: 119, removed: 0 })
      assert.deepStrictEqual(warnings, [])
      const sql = yield* SqlClient
      const [kept] = yield* sql<{ reason: string; raw: Uint8Array; id: string; record: number }>`
        SELECT reason, raw, product_id AS id, record FROM medipim.rejected_records WHERE run_id = ${runId}`
      assert.deepInclude(kept, { id: "M000000009", record: 9 })
      assert.include(kept?.reason, "U+0000")
      assert.strictEqual(JSON.parse(Buffer.from(kept?.raw ?? []).toString()).result.note, unstorable.note)
      assert.isFalse((yield* rows)[9]?.removed)
    })
  )

  it.effect("removes nothing because of a line whose id is blank or not there", () =>
    Effect.gen(function* () {
      for (const id of ["   ", "", null]) {
        yield* empty
        yield* sync(products(200))
        const { counts, warnings } = yield* sync(products(200).map((one, n) => (n === 7 ? { ...one, id } : one)))
        assert.deepInclude(counts, { removed: 0, rejected: 1 }, String(id))
        assert.match(warnings.join(), /No product was removed: 1 rejected lines have no product id/)
      }
    })
  )

  it.effect("stops an older snapshot when a product that it leaves as it is was deleted", () =>
    Effect.gen(function* () {
      yield* empty
      const older = yield* snapshotOf(products(20).map((one) => ({ ...one, publicPrice: 1 })))
      yield* sync(products(20))
      const runId = yield* beginRun()
      yield* stageAll(runId, older)
      const sql = yield* SqlClient
      yield* sql`DELETE FROM public.products WHERE id = 'M000000003'`
      const refused = yield* Effect.flip((yield* Publish).run({ runId, snapshotId: older }))
      assert.match(refused.message, /1 products that did not change are missing .*M000000003/)
    })
  )

  it.effect("brakes before more than 1 % of the lines are left out, and goes on with force", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(120))
      const before = yield* rows
      const later = { createdAt: 1_700_000_020, updatedAt: 1_800_000_000 }
      const next = products(120).map((source, n) => {
        if (n === 9 || n === 10) return { ...source, ...unstorable }
        return n === 20 ? product(n, { publicPrice: 7, meta: later }) : source
      })
      const refused = yield* Effect.flip(sync(next))
      assert.strictEqual(refused._tag, "PublishRefused")
      if (refused._tag !== "PublishRefused") return
      assert.strictEqual(refused.reason, "too-many-rejected")
      assert.deepInclude(refused.counts, { records: 120, rejected: 2, updated: 1, unchanged: 117, removed: 0 })
      assert.match(refused.message, /^Nothing was published: 2 of 120 records were rejected.*force/)
      assert.deepStrictEqual(yield* rows, before)
      const { published, counts } = yield* sync(next, { force: true })
      assert.isTrue(published)
      assert.deepStrictEqual(counts, refused.counts)
      const touched = (yield* rows).filter(({ xmin }, n) => before[n]?.xmin !== xmin)
      assert.deepStrictEqual(
        touched.map(({ id, price }) => [id, price]),
        [["M000000020", 7]]
      )
    })
  )

  it.effect("removes nothing when a rejected line does not tell its product", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(200))
      const runId = yield* beginRun()
      const lines = products(199).map((source, index) => line(source, index, 199))
      lines[7] = '{"meta":{"total":199,"index":7},"result":{"name":broken\n'
      const snapshotId = yield* writeSnapshot(lines)
      yield* stageAll(runId, snapshotId)
      const { counts, warnings } = yield* (yield* Publish).run({ runId, snapshotId })
      assert.deepInclude(counts, { rejected: 1, removed: 0, unchanged: 198 })
      assert.match(warnings.join(), /No product was removed/)
    })
  )

  it.effect("refuses a run whose chunks are not all staged, and one that lost its staging rows", () =>
    Effect.gen(function* () {
      yield* empty
      const publish = yield* Publish
      const stage = yield* ChunkStager
      const sql = yield* SqlClient
      const runId = yield* beginRun()
      const snapshotId = yield* snapshotOf(products(50))
      yield* stage.chunk({ runId, snapshotId, offset: 0, limit: 20 }, () => Effect.void)
      yield* stage.chunk({ runId, snapshotId, offset: 20, limit: 20 }, () => Effect.void)
      const partial = yield* Effect.flip(publish.run({ runId, snapshotId }))
      assert.include(partial.message, "40 of 50 records were staged")
      // A gap and an overlap of the same size add up to the right number, and are still refused.
      yield* stage.chunk({ runId, snapshotId, offset: 30, limit: 10 }, () => Effect.void)
      assert.strictEqual((yield* Effect.flip(publish.run({ runId, snapshotId })))._tag, "PublishRefused")
      yield* stage.chunk({ runId, snapshotId, offset: 20, limit: 20 }, () => Effect.void)
      yield* stage.chunk({ runId, snapshotId, offset: 40, limit: 10 }, () => Effect.void)
      yield* sql`DELETE FROM medipim.stage_products WHERE id = 'M000000012'`
      assert.include((yield* Effect.flip(publish.run({ runId, snapshotId }))).message, "staging table holds 49 rows")
      assert.deepStrictEqual(yield* rows, [])
    })
  )

  it.effect("gives the same rows when a chunk is staged twice, and the same answer when it is published twice", () =>
    Effect.gen(function* () {
      yield* empty
      const publish = yield* Publish
      const { runId, snapshotId } = yield* stagedRun(products(30))
      yield* stageAll(runId, snapshotId)
      const first = yield* publish.run({ runId, snapshotId })
      const stored = yield* rows
      assert.strictEqual(first.counts.inserted, 30)
      assert.deepStrictEqual(yield* publish.run({ runId, snapshotId }), first)
      assert.deepStrictEqual(yield* rows, stored)
    })
  )

  it.effect("stages and publishes a range alone, and removes nothing", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(20))
      const runId = yield* beginRun()
      const snapshotId = yield* snapshotOf([...products(10), ...Array.from({ length: 30 }, (_, n) => product(100 + n))])
      const range = { offset: 12, limit: 5 }
      const staged = yield* (yield* ChunkStager).chunk({ runId, snapshotId, ...range }, () => Effect.void)
      assert.deepInclude(staged, { nextOffset: 17, hasMore: true })
      const { counts, warnings } = yield* (yield* Publish).run({ runId, snapshotId, ...range })
      assert.deepInclude(counts, { records: 5, inserted: 5, removed: 0 })
      assert.strictEqual(warnings.length, 1)
      assert.deepStrictEqual(
        (yield* rows).slice(20).map(({ id }) => id),
        [102, 103, 104, 105, 106].map((n) => product(n).id)
      )
    })
  )

  it.effect("removes nothing for a snapshot that is older than the one published last", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const older = yield* snapshotOf(products(30))
      yield* sync([...products(30), product(90)])
      const runId = yield* beginRun()
      yield* stageAll(runId, older)
      const { counts, warnings } = yield* (yield* Publish).run({ runId, snapshotId: older })
      assert.deepInclude(counts, { unchanged: 30, removed: 0 })
      assert.match(warnings.join(), /a newer snapshot/)
    })
  )

  it.effect("takes the newest line of a product that comes twice, and then removes nothing", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(40))
      const newer = product(60, { publicPrice: 7, meta: { createdAt: 1, updatedAt: 1_900_000_000 } })
      const { counts, warnings } = yield* sync([newer, ...products(39), product(60)])
      assert.deepInclude(counts, { records: 41, inserted: 1, duplicates: 1, unchanged: 39, removed: 0 })
      assert.match(warnings.join(), /1 lines repeat a product id/)
      assert.strictEqual((yield* rows).find(({ id }) => id === product(60).id)?.price, 7)
    })
  )
})
