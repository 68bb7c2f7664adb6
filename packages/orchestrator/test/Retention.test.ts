import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Retention } from "../src/Retention.ts"
import { database, idOf, past } from "./Database.ts"

const historyDays = 90

/** Rejected lines of a run, each with so many random bytes, by reason. */
const rejected = (id: string, lines: Readonly<Record<string, number>>, bytes = 32) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(
      Object.entries(lines),
      ([reason, count], place) =>
        sql`INSERT INTO medipim.rejected_records
          (run_id, record, snapshot_id, part, line_index, product_id, reason, raw, line_bytes)
        SELECT ${id}, ${place * 100_000} + n, ${id}, 'part', n, NULL, replace(${reason}, '#', n::text),
          (SELECT string_agg(sha256((random() * n + k)::text::bytea), ''::bytea) FROM generate_series(1, ${bytes / 32}) AS k),
          ${bytes}
        FROM generate_series(1, ${count}) AS n`
    )
  )

const count = (table: string, where = "true") =>
  Effect.flatMap(SqlClient, (sql) =>
    sql
      .unsafe<{ readonly n: number }>(`SELECT count(*)::int AS n FROM medipim.${table} WHERE ${where}`)
      .pipe(Effect.map(([row]) => row?.n ?? 0))
  )

const anew = Effect.flatMap(
  SqlClient,
  (sql) =>
    sql`TRUNCATE medipim.sync_runs, medipim.rejected_records, medipim.product_changes, medipim.cluster_messages,
    medipim.cluster_replies CASCADE`
)

const sizeOf = (table: string) =>
  Effect.flatMap(Retention, ({ sizes }) => Effect.map(sizes, (all) => all[table] ?? Number.NaN))

layer(database(historyDays), { excludeTestServices: true, timeout: "60 seconds" })("Retention", (it) => {
  it.effect("keeps a sample of a refused run, by reason, and does not grow from night to night", () =>
    Effect.gen(function* () {
      yield* anew
      const { prune } = yield* Retention
      const grown: Array<number> = []
      for (let night = 0; night < 6; night++) {
        yield* past({ id: idOf(night), daysAgo: 6 - night, status: "failed" })
        yield* rejected(idOf(night), { "no id in line #": 2000, "cannot be stored: #": 30, "no JSON": 5 }, 3200)
        yield* prune
        // Reasons that differ in their figures are one.
        assert.strictEqual(yield* count("rejected_records", `run_id = '${idOf(night)}'`), 20 + 20 + 5)
        grown.push(yield* sizeOf("medipim.rejected_records"))
      }
      assert.strictEqual(yield* count("rejected_records"), 3 * 45, "of the last three such runs")
      const [first = 0] = grown
      assert.isBelow(Math.max(...grown), 1.2 * first, `each night takes the room of the one before: ${grown.join()}`)
    })
  )

  it.effect("keeps every rejected line of the run that published last, until it is replayed or replaced", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      const { prune } = yield* Retention
      yield* past({ id: idOf(1), daysAgo: 3 })
      yield* rejected(idOf(1), { "no id in line #": 3000 })
      yield* prune
      assert.strictEqual(yield* count("rejected_records"), 3000)
      yield* sql`UPDATE medipim.rejected_records SET replayed_by = 'replay' WHERE record <= 100`
      yield* prune
      assert.strictEqual(yield* count("rejected_records"), 2900)
      // A part of the catalogue replaces nothing, and a refused run neither.
      yield* past({ id: idOf(2), daysAgo: 2, options: { limit: 10 } })
      yield* past({ id: idOf(3), daysAgo: 2, status: "failed" })
      yield* prune
      assert.strictEqual(yield* count("rejected_records"), 2900)
      yield* past({ id: idOf(4), daysAgo: 1 })
      yield* rejected(idOf(4), { "no id in line #": 7 })
      yield* prune
      assert.strictEqual(yield* count("rejected_records"), 7)
    })
  )

  it.effect("takes nothing from a run that is still going on", () =>
    Effect.gen(function* () {
      yield* anew
      yield* past({ id: idOf(1), daysAgo: 0, status: "running" })
      yield* rejected(idOf(1), { "no id in line #": 3000 })
      yield* (yield* Retention).prune
      assert.strictEqual(yield* count("rejected_records"), 3000)
    })
  )

  it.effect("deletes history and runs that are older than HISTORY_DAYS, but not what the catalogue stands on", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      // What was published last was fetched by a run of long ago, and published whole by another one.
      yield* past({ id: idOf(1), daysAgo: 400 })
      for (let n = 2; n <= 120; n++) yield* past({ id: idOf(n), daysAgo: 400 - n, status: "failed" })
      yield* past({ id: idOf(121), daysAgo: 100, snapshotId: idOf(1) })
      for (let n = 122; n <= 180; n++) yield* past({ id: idOf(n), daysAgo: 200 - n / 2, status: "failed" })
      yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
        SELECT 'r' || n, 'M' || n, 'updated', now() - n * interval '1 day' FROM generate_series(1, 400) AS n`
      yield* (yield* Retention).prune
      assert.strictEqual(yield* count("product_changes"), historyDays - 1)
      assert.strictEqual(yield* count("product_changes", `changed_at < now() - interval '${historyDays} days'`), 0)
      const runs = yield* sql<{ readonly id: string }>`SELECT id FROM medipim.sync_runs ORDER BY seq`
      const kept = [1, 121, ...Array.from({ length: 50 }, (_, n) => 131 + n)].map((n) => idOf(n))
      assert.deepStrictEqual(
        runs.map(({ id }) => id),
        kept
      )
    })
  )

  it.effect("deletes what the workflow engine keeps of runs that have ended, and of no other", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      const workflow = (n: number, processed: boolean) =>
        Effect.forEach(["run", "activity", "activity"], (tag, place) => {
          const id = n * 10 + place
          return Effect.andThen(
            sql`INSERT INTO medipim.cluster_messages
                (id, message_id, shard_id, entity_type, entity_id, kind, tag, payload, headers, processed, request_id)
              VALUES (${id}, ${`m${id}`}, 'default:1', 'Workflow/Sync', ${`e${n}`}, 0, ${tag},
                ${tag === "run" ? JSON.stringify({ runId: idOf(n) }) : "{}"}, '{}', ${processed}, ${id})`,
            sql`INSERT INTO medipim.cluster_replies (id, kind, request_id, payload, acked)
              VALUES (${id}, 0, ${id}, '{}', true)`
          )
        })
      yield* past({ id: idOf(1), daysAgo: 8 })
      yield* past({ id: idOf(2), daysAgo: 6 })
      yield* past({ id: idOf(3), daysAgo: 9, status: "running" })
      for (const n of [1, 2, 4]) yield* workflow(n, true)
      yield* workflow(3, false)
      yield* (yield* Retention).prune
      for (const table of ["cluster_messages", "cluster_replies"]) {
        assert.strictEqual(yield* count(table, "request_id BETWEEN 10 AND 19"), 0, `${table} of a run of last week`)
        assert.strictEqual(yield* count(table, "request_id BETWEEN 40 AND 49"), 0, `${table} of a run that is gone`)
        assert.strictEqual(yield* count(table, "request_id BETWEEN 20 AND 39"), 6, `${table} of the others`)
      }
    })
  )

  it.effect("goes on with the other tables when one cannot be pruned", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      yield* past({ id: idOf(1), daysAgo: 1, status: "failed" })
      yield* rejected(idOf(1), { "no id in line #": 2000 })
      yield* Effect.acquireUseRelease(
        sql`ALTER TABLE medipim.product_changes RENAME TO somewhere_else`,
        () => Effect.flatMap(Retention, ({ prune }) => prune),
        () => Effect.orDie(sql`ALTER TABLE medipim.somewhere_else RENAME TO product_changes`)
      )
      assert.strictEqual(yield* count("rejected_records"), 20)
    })
  )
})
