import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { Staged } from "@medipim/domain/PublishRules"
import { PublishResult } from "@medipim/http-api/MaintainerApi"
import { orphanedAfter } from "@medipim/platform/Postgres"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { columnNames } from "./ProductColumns.ts"

/** What is staged for a run, and what publishing it would do. */
export interface StagedChanges extends Staged {
  readonly inserted: number
  readonly updated: number
  readonly restored: number
  readonly stale: number
}

const StoredResult = Schema.fromJsonString(PublishResult)

/** Rows; autovacuum sees to smaller growth in its own time. */
const growthWorthAnalysing = 1000

/** The catalogue and its record of changes, as one publish works on them: every method belongs in its transaction. */
export class Catalogue extends Context.Service<
  Catalogue,
  {
    /**
     * Lifts the limit on the time of a statement, two minutes on Supabase, for this transaction: one statement writes the
     * whole of a first load. Who waits for the publish has a limit of their own. A maintainer that is gone without a word
     * holds the row of the run for a minute and no longer.
     */
    readonly takeTime: Effect.Effect<void, SqlError>
    /** Holds the row of the run until the end of the transaction: nothing else can end or publish it meanwhile. */
    readonly claim: (
      runId: RunId
    ) => Effect.Effect<{ readonly running: boolean; readonly published: PublishResult | undefined }, SqlError>
    /** True as soon as somebody asked to stop the run, also while this transaction holds its row. */
    readonly isCancelled: (runId: RunId) => Effect.Effect<boolean, SqlError>
    readonly staged: (runId: RunId, range: Chunk) => Effect.Effect<StagedChanges, SqlError>
    /** How many products of the catalogue no line of the run names. */
    readonly missing: (runId: RunId) => Effect.Effect<number, SqlError>
    /** Writes the staged rows and their history. */
    readonly write: (runId: RunId) => Effect.Effect<void, SqlError>
    /** Marks the products that no line of the run names as removed. */
    readonly remove: (runId: RunId) => Effect.Effect<void, SqlError>
    /** Records the outcome in the row of the run and empties the staging tables. */
    readonly close: (result: PublishResult, snapshotId: SnapshotId) => Effect.Effect<void, SqlError>
  }
>()("maintainer/Catalogue") {
  static readonly layer = Layer.effect(
    Catalogue,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const columns = columnNames.join(", ")
      const published = Schema.decodeUnknownEffect(StoredResult)
      const stored = Schema.encodeEffect(StoredResult)

      const takeTime = Effect.andThen(sql`SET LOCAL statement_timeout = 0`, Effect.asVoid(sql.unsafe(orphanedAfter)))

      const isCancelled = Effect.fn("Catalogue.isCancelled")(function* (runId: RunId) {
        return (yield* sql`SELECT FROM medipim.sync_cancellations WHERE run_id = ${runId}`).length > 0
      })

      const claim = Effect.fn("Catalogue.claim")(function* (runId: RunId) {
        // Without the key: a cancellation refers to this row, and has to get in while the publish goes on.
        const [run] = yield* sql<{ readonly status: string; readonly result: string | null }>`
          SELECT status, CASE WHEN published_at IS NOT NULL THEN result::text END AS result
          FROM medipim.sync_runs WHERE id = ${runId} FOR NO KEY UPDATE`
        const result = run?.result ?? undefined
        return {
          running: run?.status === "running" && !(yield* isCancelled(runId)),
          published: result === undefined ? undefined : yield* Effect.orDie(published(result))
        }
      })

      const staged = Effect.fn("Catalogue.staged")(function* (runId: RunId, { offset }: Chunk) {
        // Only chunks that follow each other without gap or overlap count as staged.
        const [facts] = yield* sql<StagedChanges>`
          WITH chunks AS (
            SELECT *, ${offset}::int + coalesce(sum(records) OVER (ORDER BY first_record
              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS due
            FROM medipim.sync_chunks WHERE run_id = ${runId}
          ), seen AS (
            SELECT count(*)::int AS known, count(DISTINCT id)::int AS "distinct"
            FROM medipim.stage_batches, unnest(ids) AS id WHERE run_id = ${runId}
          ), stage AS (
            SELECT count(*)::int AS "stagedRows",
              count(*) FILTER (WHERE change = 'inserted')::int AS inserted,
              count(*) FILTER (WHERE change = 'updated')::int AS updated,
              count(*) FILTER (WHERE change = 'restored')::int AS restored
            FROM medipim.stage_products WHERE run_id = ${runId}
          ), quarantine AS (
            SELECT count(*)::int AS rejected, count(*) FILTER (WHERE product_id IS NULL)::int AS "rejectedWithoutId"
            FROM medipim.rejected_records WHERE run_id = ${runId}
          )
          SELECT seen.*, stage.*, quarantine.*,
            (SELECT coalesce(sum(records) FILTER (WHERE first_record = due), 0)::int FROM chunks) AS "chunkRecords",
            (SELECT coalesce(sum(inserted + updated + restored), 0)::int FROM chunks) AS "stagedByChunks",
            (SELECT coalesce(sum(stale), 0)::int FROM chunks) AS stale,
            (SELECT count(*)::int FROM public.products WHERE removed_at IS NULL) AS present,
            (SELECT max(snapshot_id) FROM medipim.sync_runs WHERE published_at IS NOT NULL) AS "newestPublished"
          FROM seen, stage, quarantine`
        return facts as StagedChanges
      })

      /** A rejected line that names its product keeps it: the source still has it. */
      const missingIds = (runId: RunId) => sql`SELECT id FROM public.products WHERE removed_at IS NULL
        EXCEPT SELECT unnest(ids) FROM medipim.stage_batches WHERE run_id = ${runId}
        EXCEPT SELECT product_id FROM medipim.rejected_records WHERE run_id = ${runId}`

      const missing = Effect.fn("Catalogue.missing")(function* (runId: RunId) {
        const [row] = yield* sql<{ readonly count: number }>`SELECT count(*)::int AS count
          FROM (${missingIds(runId)}) AS gone`
        return row?.count ?? 0
      })

      const write = Effect.fn("Catalogue.write")(function* (runId: RunId) {
        yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
          SELECT run_id, id, change, now() FROM medipim.stage_products
          WHERE run_id = ${runId} AND change = 'inserted'`
        // Each document is opened once, whatever its number of keys.
        yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_keys, before, changed_at)
          SELECT s.run_id, s.id, s.change, d.keys, d.before, now()
          FROM medipim.stage_products AS s JOIN public.products AS p USING (id), LATERAL (
            SELECT coalesce(array_agg(key ORDER BY key), '{}') AS keys,
              jsonb_object_agg(key, o.value) FILTER (WHERE o.value IS NOT NULL) AS before
            FROM jsonb_each(p.raw) AS o FULL JOIN jsonb_each(s.raw) AS n USING (key)
            WHERE o.value IS DISTINCT FROM n.value
          ) AS d
          WHERE s.run_id = ${runId} AND s.change <> 'inserted'`
        yield* sql.unsafe(
          `INSERT INTO public.products (${columns}, line_hash, first_seen_at, changed_at, last_run_id)
          SELECT ${columns}, line_hash, now(), now(), run_id FROM medipim.stage_products WHERE run_id = $1
          ON CONFLICT (id) DO UPDATE SET (${columns}, line_hash, changed_at, last_run_id, removed_at) =
            (${columnNames.map((name) => `EXCLUDED.${name}`).join(", ")},
              EXCLUDED.line_hash, EXCLUDED.changed_at, EXCLUDED.last_run_id, NULL)`,
          [runId]
        )
      })

      const remove = Effect.fn("Catalogue.remove")(function* (runId: RunId) {
        yield* sql`WITH gone AS (
            UPDATE public.products SET removed_at = now(), changed_at = now(), last_run_id = ${runId}
            WHERE id IN (${missingIds(runId)}) RETURNING id
          )
          INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
          SELECT ${runId}, id, 'removed', now() FROM gone`
      })

      const close = Effect.fn("Catalogue.close")(function* (result: PublishResult, snapshotId: SnapshotId) {
        // Plans that were made for a much smaller table would read all of it for each batch of the next run.
        if (result.counts.inserted + result.counts.restored > growthWorthAnalysing)
          yield* sql`ANALYZE public.products (id)`
        yield* sql`UPDATE medipim.sync_runs
          SET result = ${yield* Effect.orDie(stored(result))}::jsonb, published_at = now(),
            snapshot_id = ${snapshotId}
          WHERE id = ${result.runId}`
        yield* sql`TRUNCATE medipim.stage_products, medipim.stage_batches`
      })

      return Catalogue.of({ takeTime, claim, isCancelled, staged, missing, write, remove, close })
    })
  )
}
