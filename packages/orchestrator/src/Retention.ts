import { rowsAs } from "@medipim/platform/database/Postgres"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** Rows deleted in one transaction: it holds its locks for moments. */
const batch = 2000
/** How long the workflow engine's record of a run that has ended is kept, for diagnosis. */
const engineDays = 7
/** Limits of the rejected lines that are kept of a run that published nothing, per reason and per run... */
const sample = { ofReason: 20, ofRun: 500 }
/** ... of the last few such runs. */
const refusedRuns = 3

const Size = Schema.Struct({ name: Schema.String, bytes: Schema.Finite })

/** What is kept for how long, and how large the tables are. */
export class Retention extends Context.Service<
  Retention,
  {
    /** Deletes what is kept no longer, in small batches. It may be interrupted at any moment, and continues the next time. */
    readonly prune: Effect.Effect<void, SqlError>
    /** Bytes of each table with its indexes and of the whole database, by name. */
    readonly sizes: Effect.Effect<Readonly<Record<string, number>>, SqlError>
  }
>()("orchestrator/Retention") {
  static readonly layer = (historyDays: number) =>
    Layer.effect(
      Retention,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const records = yield* RunRecords
        const rowsDeleted = (statement: string) => Effect.map(sql.unsafe(statement), (rows) => rows.length)

        /** Deletes rows until a batch finds fewer than it may take, and gives the space back. */
        const deleteInBatches = (what: string, table: string, deleteBatch: Effect.Effect<number, SqlError>) =>
          Effect.gen(function* () {
            let deleted = 0
            while (true) {
              const rows = yield* deleteBatch
              deleted += rows
              if (rows < batch) break
              yield* Effect.yieldNow
            }
            if (deleted === 0) return
            yield* Effect.logInfo(`Deleted ${deleted} ${what}`)
            yield* sql.unsafe(`VACUUM (SKIP_LOCKED) medipim.${table}`)
          })

        const days = (n: number): string => `now() - interval '${n} days'`

        const changes = deleteInBatches(
          "changes of products",
          "product_changes",
          rowsDeleted(`DELETE FROM medipim.product_changes WHERE id IN (
            SELECT id FROM medipim.product_changes WHERE changed_at < ${days(historyDays)} ORDER BY id LIMIT ${batch}
          ) RETURNING 1`)
        )

        // What a replay has published, and lines of snapshots that a whole newer one has replaced.
        const replaced = deleteInBatches(
          "rejected lines that were replayed or replaced",
          "rejected_records",
          rowsDeleted(`DELETE FROM medipim.rejected_records WHERE (run_id, record) IN (
            SELECT r.run_id, r.record FROM medipim.rejected_records AS r
            LEFT JOIN medipim.sync_runs AS run ON run.id = r.run_id
            WHERE r.replayed_by IS NOT NULL OR run.id IS NULL OR EXISTS (
              SELECT FROM medipim.published_snapshots AS p
              WHERE p.whole AND p.run_seq > run.seq AND p.snapshot_id <> r.snapshot_id
            ) LIMIT ${batch}
          ) RETURNING 1`)
        )

        // Reasons are alike when they differ in their figures and in what they quote. Each reason has its first example.
        const unpublished = deleteInBatches(
          "rejected lines of runs that published nothing",
          "rejected_records",
          rowsDeleted(`DELETE FROM medipim.rejected_records WHERE (run_id, record) IN (
            SELECT run_id, record FROM (
              SELECT *, row_number() OVER (PARTITION BY run_id ORDER BY of_reason, record) AS of_run FROM (
                SELECT r.run_id, r.record,
                  row_number() OVER (
                    PARTITION BY r.run_id, regexp_replace(r.reason, '\\d+|".*"', '#', 'g') ORDER BY r.record
                  ) AS of_reason,
                  dense_rank() OVER (ORDER BY run.seq DESC) AS run_back
                FROM medipim.rejected_records AS r JOIN medipim.sync_runs AS run ON run.id = r.run_id
                WHERE run.published_at IS NULL AND run.status <> 'running'
              ) AS by_reason
            ) AS ranked
            WHERE of_reason > ${sample.ofReason} OR of_run > ${sample.ofRun} OR run_back > ${refusedRuns}
            LIMIT ${batch}
          ) RETURNING 1`)
        )

        const runs = deleteInBatches("runs", "sync_runs", records.deleteOld(historyDays, batch))

        const ended = `SELECT m.entity_type, m.entity_id FROM medipim.cluster_messages AS m
          LEFT JOIN medipim.sync_runs AS run ON run.id = m.payload::jsonb ->> 'runId'
          WHERE m.entity_type = 'Workflow/Sync' AND m.tag = 'run' AND m.processed
            AND (run.id IS NULL OR run.ended_at < ${days(engineDays)})`
        const replies = deleteInBatches(
          "replies of the workflow engine",
          "cluster_replies",
          rowsDeleted(`DELETE FROM medipim.cluster_replies WHERE id IN (
            SELECT r.id FROM medipim.cluster_replies AS r JOIN medipim.cluster_messages AS m USING (request_id)
            JOIN (${ended}) AS e USING (entity_type, entity_id) LIMIT ${batch}
          ) RETURNING 1`)
        )
        // The message of the run itself goes last: it names the others.
        const messages = deleteInBatches(
          "messages of the workflow engine",
          "cluster_messages",
          rowsDeleted(`DELETE FROM medipim.cluster_messages WHERE id IN (
            SELECT m.id FROM medipim.cluster_messages AS m JOIN (${ended}) AS e USING (entity_type, entity_id)
            ORDER BY m.tag = 'run' LIMIT ${batch}
          ) RETURNING 1`)
        )

        const orLogged = (part: typeof changes) => Effect.ignoreCause(part, { log: "Warn" })
        const prune = Effect.forEach([changes, replaced, unpublished, replies, messages, runs], orLogged, {
          discard: true
        }).pipe(Effect.withSpan("Retention.prune"))

        const sizes = sql`
          SELECT n.nspname || '.' || c.relname AS name, pg_total_relation_size(c.oid)::float8 AS bytes
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE c.relkind = 'r' AND (n.nspname = 'medipim' OR (n.nspname = 'public' AND c.relname = 'products'))
          UNION ALL SELECT 'database', pg_database_size(current_database())::float8
          ORDER BY bytes DESC`.pipe(
          rowsAs(Size),
          Effect.map((rows) => Object.fromEntries(rows.map(({ name, bytes }) => [name, bytes]))),
          Effect.withSpan("Retention.sizes")
        )

        return Retention.of({ prune, sizes })
      })
    )
}
