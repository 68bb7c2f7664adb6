import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { Publish } from "../src/Publish.ts"
import { RejectedRecords } from "../src/RejectedRecords.ts"
import { Replay } from "../src/Replay.ts"
import { beginRun, line, product, products, services, snapshotOf, sync, unstorable } from "./Fixture.ts"

const total = 400
const later = { createdAt: 1_700_000_000, updatedAt: 1_800_000_000 }

/** Ends the run that goes on. */
const idle = Effect.flatMap(SqlClient, (sql) => sql`UPDATE medipim.sync_runs SET status = 'succeeded'`)

/** A catalogue of which some lines were rejected by rules that have since learned to read what they hold. */
const rejectedBefore = Effect.fnUntraced(function* (learned: ReadonlyMap<number, Record<string, unknown>>) {
  const sql = yield* SqlClient
  yield* sql`TRUNCATE public.products, medipim.product_changes, medipim.rejected_records`
  yield* sql`DELETE FROM medipim.sync_runs`
  yield* sync(products(total - 1))
  const rejected = [2, 3, 4, total - 1]
  const sources = products(total).map((source, n) => (rejected.includes(n) ? { ...source, ...unstorable } : source))
  const { runId, counts } = yield* sync(sources)
  assert.deepInclude(counts, { rejected: 4, unchanged: total - 4, inserted: 0 })
  for (const [n, more] of learned) {
    const raw = new Uint8Array(Buffer.from(line(product(n, more), n, total).trimEnd()))
    yield* sql`UPDATE medipim.rejected_records SET raw = ${raw}, line_bytes = ${raw.length} WHERE record = ${n}`
  }
  yield* idle
  return runId
})

const learned = new Map([
  [2, { publicPrice: 7, meta: later }],
  [3, {}],
  [4, { publicPrice: 8, meta: { createdAt: 1, updatedAt: 2 } }],
  [total - 1, { publicPrice: 9 }]
])

const prices = Effect.flatMap(
  SqlClient,
  (sql) =>
    sql<{ readonly id: string; readonly price: number; readonly xmin: string; readonly run: string }>`
      SELECT id, public_price_cents AS price, xmin::text, last_run_id AS run FROM public.products ORDER BY id`
)
const replays = Effect.flatMap(
  SqlClient,
  (sql) => sql<{ readonly id: string; readonly status: string; readonly phase: string; readonly inserted: number }>`
    SELECT id, status, phase, (progress ->> 'inserted')::int AS inserted FROM medipim.sync_runs WHERE mode = 'replay'`
)

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("Replay", (it) => {
  it.effect("publishes exactly what passes now, and keeps a run of it", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      const before = new Map((yield* prices).map((row) => [row.id, row.xmin]))
      const { run } = yield* Replay
      const result = yield* run({})
      assert.deepInclude(result, { examined: 4, replayed: 4, stillRejected: 0, superseded: 0 })
      assert.deepInclude(result.counts, { records: 4, inserted: 1, updated: 1, unchanged: 1, stale: 1, removed: 0 })
      const touched = (yield* prices).filter(({ id, xmin }) => before.get(id) !== xmin)
      assert.deepStrictEqual(
        touched.map(({ id, price, run }) => [id, price, run]),
        [
          [product(2).id, 7, result.runId],
          [product(total - 1).id, 9, result.runId]
        ]
      )
      const sql = yield* SqlClient
      const changes = yield* sql<{ readonly id: string; readonly change: string }>`
        SELECT product_id AS id, change FROM medipim.product_changes WHERE run_id = ${result.runId} ORDER BY id`
      assert.deepStrictEqual(
        new Set(changes.map(({ id, change }) => `${id} ${change}`)),
        new Set([`${product(2).id} updated`, `${product(total - 1).id} inserted`])
      )
      assert.deepStrictEqual(yield* replays, [
        { id: result.runId ?? "", status: "succeeded", phase: "idle", inserted: 1 }
      ])
      const { records } = yield* (yield* RejectedRecords).list({})
      assert.deepStrictEqual(new Set(records.map(({ replayedBy }) => replayedBy)), new Set([result.runId]))
    })
  )

  it.effect("takes all back when a trigger keeps a row from being written", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      const sql = yield* SqlClient
      const before = yield* prices
      const { run } = yield* Replay
      yield* Effect.acquireUseRelease(
        Effect.andThen(
          sql`CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
          sql`CREATE TRIGGER shop_trigger BEFORE INSERT OR UPDATE ON public.products FOR EACH ROW
            WHEN (NEW.id = 'M000000002') EXECUTE FUNCTION public.theirs()`
        ),
        () =>
          Effect.gen(function* () {
            const refused = yield* Effect.flip(run({}))
            assert.deepInclude(refused, { _tag: "PublishRefused", reason: "not-written" })
            assert.match(
              refused.message,
              /1 products are not in the table as they were written \(for example M000000002\)/
            )
            assert.deepStrictEqual(yield* prices, before)
            assert.deepStrictEqual(yield* replays, [])
          }),
        () => Effect.orDie(sql`DROP FUNCTION public.theirs() CASCADE`)
      )
      assert.deepInclude(yield* run({}), { replayed: 4 }, "the lines were still waiting")
    })
  )

  it.effect("names what it did not understand, and what the table does not hold as it was written", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(new Map([[2, { publicPrice: "free", name: { en: "new" }, meta: later }]]))
      const sql = yield* SqlClient
      const { runId, warnings } = yield* Effect.acquireUseRelease(
        Effect.andThen(
          sql`CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'theirs'; RETURN NEW; END $$`,
          sql`CREATE TRIGGER shop_trigger BEFORE INSERT OR UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION public.theirs()`
        ),
        () => Effect.flatMap(Replay, ({ run }) => run({})),
        () => Effect.orDie(sql`DROP FUNCTION public.theirs() CASCADE`)
      )
      // In the answer, and in the run that people look at.
      const [kept] = yield* sql<{ readonly notes: ReadonlyArray<string> }>`
        SELECT progress -> 'errors' AS notes FROM medipim.sync_runs WHERE id = ${runId}`
      assert.deepStrictEqual(kept?.notes, warnings)
      assert.deepStrictEqual(warnings, [
        "publicPrice came in an unknown shape for 1 products (for example M000000002): the stored value was kept.",
        "The table does not hold what was written: name of 1 products (for example M000000002). On the table are: trigger shop_trigger."
      ])
    })
  )

  it.effect("does nothing the second time", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      const { run } = yield* Replay
      yield* run({})
      const after = yield* prices
      assert.deepInclude(yield* run({}), { runId: null, examined: 0, replayed: 0 })
      assert.deepStrictEqual(yield* prices, after)
      assert.strictEqual((yield* replays).length, 1)
    })
  )

  it.effect("leaves what still cannot be decoded where it is", () =>
    Effect.gen(function* () {
      const runId = yield* rejectedBefore(new Map([[2, { publicPrice: 7, meta: later }]]))
      const result = yield* (yield* Replay).run({})
      assert.deepInclude(result, { examined: 4, replayed: 1, stillRejected: 3 })
      const { total, records } = yield* (yield* RejectedRecords).list({ runId })
      assert.strictEqual(total, 4)
      assert.deepStrictEqual(
        records.map(({ record, replayedBy }) => [record, replayedBy]),
        [
          [2, result.runId],
          [3, null],
          [4, null],
          [399, null]
        ]
      )
    })
  )

  it.effect("promises in a dry run what it then does, and writes nothing", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      const before = yield* prices
      const { run } = yield* Replay
      const { runId, ...promised } = yield* run({ dryRun: true })
      assert.isNull(runId)
      assert.deepStrictEqual(yield* prices, before)
      assert.deepStrictEqual(yield* replays, [])
      const { runId: _run, ...done } = yield* run({})
      assert.deepStrictEqual(done, promised)
    })
  )

  it.effect("takes only the lines that are asked for", () =>
    Effect.gen(function* () {
      const runId = yield* rejectedBefore(learned)
      const { run } = yield* Replay
      assert.deepInclude(yield* run({ reason: "no such reason" }), { examined: 0 })
      assert.deepInclude(yield* run({ runId, reason: "u+0000", dryRun: true }), { examined: 4 })
    })
  )

  it.effect("leaves lines alone whose snapshot was replaced by a newer one", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      yield* sync(products(total).map((source, n) => (n === 7 ? { ...source, ...unstorable } : source)))
      yield* idle
      assert.deepInclude(yield* (yield* Replay).run({}), { runId: null, examined: 1, stillRejected: 1, superseded: 4 })
    })
  )

  it.effect("puts nothing over what a newer snapshot has written, of whatever age it says it is", () =>
    Effect.gen(function* () {
      const noAge = { meta: { createdAt: 1_700_000_000 } }
      yield* rejectedBefore(new Map([[2, { publicPrice: 7, ...noAge }]]))
      const runId = yield* beginRun()
      const snapshotId = yield* snapshotOf(products(20).map((one) => ({ ...one, publicPrice: 1, ...noAge })))
      yield* (yield* ChunkStager).chunk({ runId, snapshotId, offset: 0, limit: 10 }, () => Effect.void)
      const sql = yield* SqlClient
      // A run over a part: what it did not see still stands for the snapshot before.
      yield* sql`UPDATE medipim.sync_runs SET options = '{"limit": 10}' WHERE id = ${runId}`
      yield* (yield* Publish).run({ runId, snapshotId, limit: 10 })
      yield* idle
      const before = yield* prices
      const { counts, replayed } = yield* (yield* Replay).run({ dryRun: true })
      assert.strictEqual(replayed, 1)
      assert.deepInclude(counts, { updated: 0, stale: 1 })
      yield* (yield* Replay).run({})
      assert.deepStrictEqual(yield* prices, before)
    })
  )

  it.effect("puts nothing of an unsaid age over what a newer snapshot has seen unchanged", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(new Map([[2, { publicPrice: 7, meta: { createdAt: 1_700_000_000 } }]]))
      const runId = yield* beginRun()
      const snapshotId = yield* snapshotOf(products(20))
      yield* (yield* ChunkStager).chunk({ runId, snapshotId, offset: 0, limit: 10 }, () => Effect.void)
      const sql = yield* SqlClient
      yield* sql`UPDATE medipim.sync_runs SET options = '{"limit": 10}' WHERE id = ${runId}`
      assert.strictEqual((yield* (yield* Publish).run({ runId, snapshotId, limit: 10 })).counts.unchanged, 10)
      yield* idle
      const { counts } = yield* (yield* Replay).run({})
      assert.deepInclude(counts, { updated: 0, stale: 1 })
    })
  )

  it.effect("leaves of two lines of one snapshot the one that was published, unless the other is newer", () =>
    Effect.gen(function* () {
      const { createdAt, updatedAt } = product(5).meta as { createdAt: number; updatedAt: number }
      for (const [age, outcome] of [
        [updatedAt, "stale"],
        [updatedAt + 1, "updated"]
      ] as const) {
        yield* rejectedBefore(new Map())
        const sources = products(100).map((one) => ({ ...one, publicPrice: 3 }))
        const other = { ...product(5), publicPrice: 4, meta: { createdAt, updatedAt: age } }
        const { runId } = yield* sync([...sources, { ...other, ...unstorable }], { force: true })
        const raw = new Uint8Array(Buffer.from(line(other, 100, 101).trimEnd()))
        const sql = yield* SqlClient
        yield* sql`UPDATE medipim.rejected_records SET raw = ${raw}, line_bytes = ${raw.length} WHERE run_id = ${runId}`
        yield* idle
        const { counts } = yield* (yield* Replay).run({ runId })
        assert.deepInclude(counts, { stale: 0, updated: 0, [outcome]: 1 })
      }
    })
  )

  it.effect("waits for no sync: it says which one runs, and changes nothing", () =>
    Effect.gen(function* () {
      yield* rejectedBefore(learned)
      const before = yield* prices
      const running = yield* beginRun()
      const busy = yield* Effect.flip((yield* Replay).run({}))
      assert.strictEqual(busy._tag === "Busy" && busy.job, running)
      assert.deepStrictEqual(yield* prices, before)
    })
  )
})
