import { assert, layer } from "@effect/vitest"
import { MaintainerClient } from "@medipim/http-api/Clients"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { parse, rowOf } from "./Oracle.ts"
import { type Row, rows, touchedSince, xmins } from "./Rows.ts"
import { sync, TestStack } from "./TestStack.ts"

const products = 3000

/** The catalogue as the source says it now, without what it signs anew on every answer. */
const source = Effect.flatMap(TestStack, ({ addresses }) =>
  Effect.promise(async () => {
    const answer = await fetch(`${addresses.SIMULATOR_URL}/v4/products/stream`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa("1:simulator-secret-of-no-value")}` },
      body: JSON.stringify({ filter: { status: ["active", "inactive", "replaced"] }, sorting: { createdAt: "ASC" } })
    })
    const lines = (await answer.text()).split("\n").filter((line) => line !== "")
    return lines.map((line) => parse(line).result as Record<string, unknown>)
  })
)

/** Which run wrote each row last. */
const writers = Effect.map(rows, (all) => new Map(all.map(({ id, last_run_id }) => [id, last_run_id])))
const changesOf = (runId: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql<{ readonly id: string; readonly change: string; readonly keys: ReadonlyArray<string> | null }>`
      SELECT product_id AS id, change, changed_keys AS keys FROM medipim.product_changes
      WHERE run_id = ${runId} ORDER BY product_id`
  )

const plain = (row: Row, columns: ReadonlyArray<string>) =>
  Object.fromEntries(
    columns.map((column) => [column, row[column] instanceof Date ? row[column].toISOString() : row[column]])
  )

/** The products that are not removed are those of the source, column by column. */
const assertAsSource = Effect.gen(function* () {
  const expected = (yield* source).map(rowOf).sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1))
  const present = (yield* rows).filter(({ removed_at }) => removed_at === null)
  assert.deepStrictEqual(
    present.map(({ id }) => id),
    expected.map(({ id }) => id)
  )
  for (const [n, row] of present.entries()) {
    assert.deepStrictEqual(plain(row, Object.keys(expected[n] ?? {})), expected[n])
  }
})

/** What the system itself adds to a product; `raw` and what tells of changes have tests of their own. */
const ours = ["raw", "content_hash", "line_hash", "first_seen_at", "changed_at", "removed_at", "last_run_id"]

const idsOf = (answer: Record<string, unknown>, key: string) => [...(answer[key] as ReadonlyArray<string>)].sort()

layer(TestStack.layer(products), { excludeTestServices: true, timeout: "120 seconds" })("The whole system", (it) => {
  it.effect("brings every product into the table, field by field as the source has it", () =>
    Effect.gen(function* () {
      const run = yield* sync()
      assert.deepInclude(run, { status: "succeeded", published: true, mode: "full" })
      assert.deepInclude(run.progress, {
        recordsFetched: products,
        totalRecords: products,
        inserted: products,
        rejected: 0,
        percent: 100
      })
      assert.strictEqual((yield* rows).length, products)
      yield* assertAsSource
    })
  )

  it.effect("has no column that the comparison with the source leaves out, or finds empty everywhere", () =>
    Effect.gen(function* () {
      const all = yield* rows
      const columns = Object.keys(all[0] ?? {}).filter((column) => column !== "xmin")
      const compared = Object.keys(rowOf({ meta: {} }))
      assert.sameMembers(columns, [...compared, ...ours])
      const isEmpty = (column: string) => all.every((row) => String(row[column] ?? "") === "")
      assert.deepStrictEqual(compared.filter(isEmpty), [])
    })
  )

  it.effect("keeps the whole source in raw, but for the signed address", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const stored = yield* sql<{ readonly id: string; readonly raw: string }>`
        SELECT id, raw::text AS raw FROM public.products ORDER BY id LIMIT 500`
      const all = new Map((yield* source).map((one) => [one.id, one]))
      for (const { id, raw } of stored) {
        const { meta, ...rest } = all.get(id) as Record<string, unknown>
        const { embedUrl: _signed, ...kept } = meta as Record<string, unknown>
        assert.deepStrictEqual(parse(raw), { ...rest, meta: kept })
      }
    })
  )

  it.effect("counts what the simulator counts", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const { byStatus } = yield* control("GET /control/catalogue")
      const sql = yield* SqlClient
      const counted = yield* sql<{ readonly status: string; readonly n: number }>`
        SELECT status, count(*)::int AS n FROM public.products GROUP BY status`
      const expected = Object.entries(byStatus as Record<string, number>).filter(([, n]) => n > 0)
      assert.deepStrictEqual(new Map(counted.map(({ status, n }) => [status, n])), new Map(expected))
    })
  )

  it.effect("writes no row when nothing changed", () =>
    Effect.gen(function* () {
      const before = yield* xmins
      const run = yield* sync()
      assert.deepInclude(run.progress, { unchanged: products, inserted: 0, updated: 0, removed: 0 })
      assert.deepStrictEqual(yield* touchedSince(before), [])
    })
  )

  it.effect("changes exactly the rows that changed, and history says how", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const before = yield* xmins
      const writtenBefore = yield* writers
      const done = yield* control("POST /control/changes", {
        update: 50,
        remove: 7,
        deactivate: 20,
        deselect: 3,
        add: 4
      })
      const gone = [...idsOf(done, "removed"), ...idsOf(done, "deselected")].sort()
      const changed = [...idsOf(done, "updated"), ...idsOf(done, "deactivated")].sort()
      const run = yield* sync({ chunkSize: 700 })
      assert.deepInclude(run.progress, { updated: 70, removed: 10, inserted: 4, chunksTotal: 5, chunksProcessed: 5 })
      const touched = [...gone, ...changed, ...idsOf(done, "added")].sort()
      assert.deepStrictEqual(yield* touchedSince(before), touched)
      const now = touched.map((id) => [id, run.runId] as const)
      assert.deepStrictEqual(yield* writers, new Map([...writtenBefore, ...now]))
      yield* assertAsSource
      const history = yield* changesOf(run.runId)
      const of = (change: string) => history.filter((one) => one.change === change).map(({ id }) => id)
      assert.deepStrictEqual(of("removed"), gone)
      assert.deepStrictEqual(of("updated"), changed)
      assert.deepStrictEqual(of("inserted"), idsOf(done, "added"))
      const deactivated = new Set(idsOf(done, "deactivated"))
      for (const { keys } of history.filter(({ id }) => deactivated.has(id))) {
        assert.deepStrictEqual(keys, ["meta", "status"])
      }
      assert.deepStrictEqual(
        (yield* rows).filter(({ removed_at }) => removed_at !== null).map(({ id }) => id),
        gone
      )
    })
  )

  it.effect("brings a product that comes back as the source has it by then", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const gone = idsOf(yield* control("POST /control/changes", { remove: 3 }), "removed")
      assert.strictEqual((yield* sync()).progress.removed, 3)
      const before = yield* xmins
      yield* control("POST /control/changes", { ids: { update: gone, restore: gone } })
      const run = yield* sync()
      assert.deepInclude(run.progress, { restored: 3, updated: 0, inserted: 0, removed: 0 })
      assert.deepStrictEqual(yield* touchedSince(before), gone)
      assert.deepStrictEqual(
        (yield* changesOf(run.runId)).map(({ id, change }) => [id, change]),
        gone.map((id) => [id, "restored"])
      )
      yield* assertAsSource
    })
  )

  it.effect("promises in a dry run what the next publish does, and writes nothing", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      yield* control("POST /control/changes", { update: 11, remove: 2, add: 1 })
      const before = yield* xmins
      const dry = yield* sync({ dryRun: true })
      assert.deepInclude(dry, { status: "succeeded", published: false })
      assert.deepStrictEqual(yield* touchedSince(before), [])
      assert.deepStrictEqual(yield* changesOf(dry.runId), [])
      const real = yield* sync()
      const { inserted, updated, removed, restored, unchanged, stale } = real.progress
      assert.deepInclude(dry.progress, { inserted, updated, removed, restored, unchanged, stale })
      assert.deepInclude(real.progress, { inserted: 1, updated: 11, removed: 2 })
      // The snapshot of the dry run was fresh and unpublished: it was used again.
      assert.strictEqual(real.snapshotId, dry.snapshotId)
    })
  )

  it.effect("fetches alone without writing a row, and maintains a range alone without removing one", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      yield* control("POST /control/changes", { touch: true, remove: 5 })
      const before = yield* xmins
      const fetched = yield* sync({ mode: "fetch-only" })
      assert.deepInclude(fetched, { status: "succeeded", published: false })
      assert.deepInclude(fetched.progress, { fetched: true, recordsTotal: fetched.progress.recordsFetched })
      assert.deepStrictEqual(yield* touchedSince(before), [])
      const range = yield* sync({ mode: "maintain-only", offset: 1000, limit: 250, chunkSize: 100 })
      assert.deepInclude(range.progress, { totalRecords: 250, updated: 250, removed: 0, chunksTotal: 3 })
      assert.strictEqual(range.snapshotId, fetched.snapshotId)
      assert.strictEqual((yield* touchedSince(before)).length, 250)
      assert.match(range.progress.errors.join(), /only a part of the snapshot/)
    })
  )

  it.effect("recovers within the run from one broken download", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      yield* control("POST /control/faults", { fault: "reset", at: 3000 })
      const run = yield* sync({ forceRefresh: true })
      assert.deepInclude(run, { status: "succeeded", published: true })
    })
  )

  it.effect("rejects lines that it cannot store, and one that is too long to be read, and lists them", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      yield* control("POST /control/faults", { fault: "undecodable", at: 1234 })
      const run = yield* sync({ forceRefresh: true })
      assert.deepInclude(run.progress, { rejected: 1, removed: 0 })
      const client = yield* MaintainerClient
      const { total, records } = yield* client.rejected({ query: { runId: run.runId } })
      assert.strictEqual(total, 1)
      assert.deepStrictEqual([records[0]?.record, records[0]?.snapshotId], [1234, run.snapshotId])
      assert.match(records[0]?.reason ?? "", /U\+0000/)
      assert.strictEqual((yield* client.rejected({ query: { reason: "no such reason" } })).total, 0)
      yield* control("POST /control/faults", { fault: "oversized-line", at: 2345 })
      const long = yield* sync({ forceRefresh: true })
      assert.deepInclude(long.progress, { rejected: 1, removed: 0, recordsFetched: long.progress.recordsTotal })
      const [line] = (yield* client.rejected({ query: { runId: long.runId } })).records
      assert.strictEqual(line?.record, 2345)
      assert.isAbove(line?.bytes ?? 0, 17 * 1024 * 1024)
      assert.strictEqual(line?.productId, JSON.parse(line?.raw.replace(/,"status".*$/s, "}}") ?? "").result.id)
    })
  )

  it.effect("keeps the stored value of a field that it does not understand, and names it", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const priceOf = (id: string) =>
        Effect.flatMap(
          SqlClient,
          (sql) => sql<{ price: number; line: string | null; raw: string }>`
          SELECT public_price_cents AS price, line_hash AS line, raw ->> 'publicPrice' AS raw
          FROM public.products WHERE id = ${id}`
        )
      const [sample] = (yield* rows).filter(
        ({ removed_at, public_price_cents }) => removed_at === null && public_price_cents !== null
      )
      const line = (yield* source).findIndex(({ id }) => id === sample?.id)
      yield* control("POST /control/faults", { fault: "unknown-shape", at: line })
      const run = yield* sync({ forceRefresh: true })
      assert.deepInclude(run.progress, { updated: 1, rejected: 0 })
      assert.include(
        run.progress.errors.join(),
        `publicPrice came in an unknown shape for 1 products (for example ${sample?.id})`
      )
      assert.deepStrictEqual(yield* priceOf(String(sample?.id)), [
        { price: sample?.public_price_cents as number, line: null, raw: "free" }
      ])
      // The source has mended it: the product is looked at again, and understood.
      const next = yield* sync({ forceRefresh: true })
      assert.deepInclude(next.progress, { updated: 1, unchanged: next.progress.recordsTotal - 1, errors: [] })
      yield* assertAsSource
    })
  )
})
