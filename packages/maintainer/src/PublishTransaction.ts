import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { Staged } from "@medipim/domain/PublishRules"
import { sumFields, UnknownField } from "@medipim/domain/UnknownFields"
import { PublishResult } from "@medipim/http-api/MaintainerApi"
import { abortIdleTransaction, longestLockWait } from "@medipim/platform/Postgres"
import { PublishOrder } from "@medipim/platform/PublishOrder"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { lostFields } from "./LostFields.ts"

const StoredResult = Schema.fromJsonString(PublishResult)
const ChunkFields = Schema.Array(Schema.Struct({ fields: Schema.Array(UnknownField) }))

/** The catalogue and its record of changes, as one publish works on them: every method belongs in its transaction. */
export class PublishTransaction extends Context.Service<
  PublishTransaction,
  {
    /**
     * Lifts the limit on the time of a statement, two minutes on Supabase, for this transaction: one statement writes the
     * whole of a first load. Waiting for a lock stays bounded. When the maintainer disappears, Postgres aborts the idle
     * transaction after 60 s and releases the row of the run.
     */
    readonly disableStatementTimeout: Effect.Effect<void, SqlError>
    /** Holds the row of the run until the end of the transaction: nothing else can end or publish it meanwhile. */
    readonly lockRun: (
      runId: RunId
    ) => Effect.Effect<{ readonly running: boolean; readonly published: PublishResult | undefined }, SqlError>
    /** True as soon as a cancellation was requested, also while this transaction holds its row. */
    readonly isCancelled: (runId: RunId) => Effect.Effect<boolean, SqlError>
    /** What is staged; rows whose product has a later line that is unchanged are taken out of the staging first. */
    readonly staged: (runId: RunId, snapshotId: SnapshotId, range: Chunk) => Effect.Effect<Staged, SqlError>
    /** The products of the catalogue that no line of the run names. */
    readonly missing: (runId: RunId) => Effect.Effect<ReadonlyArray<string>, SqlError>
    /** Records the outcome in the row of the run. */
    readonly recordPublish: (result: PublishResult, snapshotId: SnapshotId) => Effect.Effect<void, SqlError>
  }
>()("maintainer/PublishTransaction") {
  static readonly layer = Layer.effect(
    PublishTransaction,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const order = yield* PublishOrder
      const published = Schema.decodeUnknownEffect(StoredResult)
      const stored = Schema.encodeEffect(StoredResult)
      const decodeFields = Schema.decodeUnknownEffect(ChunkFields)

      const disableStatementTimeout = Effect.all(
        [
          sql`SET LOCAL statement_timeout = 0`,
          // Again: a pooler may keep the parameters of a connection for itself.
          sql.unsafe(`SET LOCAL lock_timeout = '${longestLockWait}'`),
          sql.unsafe(abortIdleTransaction)
        ],
        { discard: true }
      )

      const isCancelled = Effect.fn("PublishTransaction.isCancelled")(function* (runId: RunId) {
        return (yield* sql`SELECT FROM medipim.sync_cancellations WHERE run_id = ${runId}`).length > 0
      })

      const lockRun = Effect.fn("PublishTransaction.lockRun")(function* (runId: RunId) {
        // Without the key: a cancellation references this row, and must get in during the publish.
        const [run] = yield* sql<{ readonly status: string; readonly result: string | null }>`
          SELECT status, CASE WHEN published_at IS NOT NULL THEN result::text END AS result
          FROM medipim.sync_runs WHERE id = ${runId} FOR NO KEY UPDATE`
        const result = run?.result ?? undefined
        return {
          running: run?.status === "running" && !(yield* isCancelled(runId)),
          published: result === undefined ? undefined : yield* Effect.orDie(published(result))
        }
      })

      /**
       * Of two lines of a product the one with the later `meta.updatedAt` counts, and of two in one second the one that comes
       * later. An unchanged line has the time that is stored.
       */
      const dropSuperseded = (runId: RunId) =>
        sql`WITH older AS MATERIALIZED (
            SELECT s.id, CASE WHEN coalesce(s.medipim_updated_at, '-infinity') < coalesce(p.medipim_updated_at, '-infinity')
              THEN -1 ELSE s.record END AS before
            FROM medipim.stage_products AS s JOIN public.products AS p USING (id)
            WHERE s.run_id = ${runId} AND p.removed_at IS NULL
              AND coalesce(s.medipim_updated_at, '-infinity') <= coalesce(p.medipim_updated_at, '-infinity')
          )
          DELETE FROM medipim.stage_products WHERE run_id = ${runId} AND id IN (
            SELECT older.id FROM medipim.stage_batches AS b, unnest(b.unchanged, b.unchanged_at) AS u(id, record)
            JOIN older USING (id) WHERE b.run_id = ${runId} AND u.record > older.before
          ) RETURNING 1`

      const wentBack = (runId: RunId) =>
        sql<{ readonly products: number; readonly example: string | null }>`
          SELECT count(*)::int AS products, min(s.id) AS example
          FROM medipim.stage_products AS s JOIN public.products AS p USING (id)
          WHERE s.run_id = ${runId} AND s.medipim_updated_at < p.medipim_updated_at`

      const staged = Effect.fn("PublishTransaction.staged")(function* (
        runId: RunId,
        snapshotId: SnapshotId,
        { offset }: Chunk
      ) {
        const superseded = (yield* dropSuperseded(runId)).length
        type Counted = Omit<Staged, "unknownFields" | "lostFields">
        // Only chunks that follow each other without gap or overlap count as staged.
        const [facts] = yield* sql<Counted>`
          WITH chunks AS (
            SELECT *, ${offset}::int + coalesce(sum(records) OVER (ORDER BY first_record
              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS due
            FROM medipim.sync_chunks WHERE run_id = ${runId}
          ), seen AS (
            SELECT count(*)::int AS known, count(DISTINCT id)::int AS "distinct"
            FROM medipim.stage_batches, unnest(ids || unchanged) AS id WHERE run_id = ${runId}
          ), stage AS (
            SELECT count(*) FILTER (WHERE change = 'inserted')::int AS inserted,
              count(*) FILTER (WHERE change = 'updated')::int AS updated,
              count(*) FILTER (WHERE change = 'restored')::int AS restored
            FROM medipim.stage_products WHERE run_id = ${runId}
          ), rejects AS (
            SELECT count(*)::int AS rejected, count(*) FILTER (WHERE product_id IS NULL)::int AS "rejectedWithoutId"
            FROM medipim.rejected_records WHERE run_id = ${runId}
          )
          SELECT seen.*, stage.*, rejects.*,
            (SELECT coalesce(sum(records) FILTER (WHERE first_record = due), 0)::int FROM chunks) AS "chunkRecords",
            (SELECT coalesce(sum(inserted + updated + restored), 0)::int FROM chunks) AS "stagedByChunks",
            (SELECT coalesce(sum(stale), 0)::int FROM chunks) AS stale,
            (SELECT count(*)::int FROM public.products WHERE removed_at IS NULL) AS present
          FROM seen, stage, rejects`
        const counted = facts as Counted
        const chunks = yield* sql`SELECT unknown_fields AS fields FROM medipim.sync_chunks WHERE run_id = ${runId}`
        const fields = yield* Effect.orDie(decodeFields(chunks))
        const changed = counted.updated + counted.restored > 0
        const [back] = changed ? yield* wentBack(runId) : []
        return {
          ...counted,
          superseded,
          wentBack: back?.products ?? 0,
          wentBackExample: back?.example ?? null,
          newerPublished: Option.getOrNull(yield* order.newerThan(snapshotId)),
          unknownFields: sumFields(fields.flatMap((chunk) => chunk.fields)),
          lostFields: counted.updated > 0 ? yield* Effect.provideService(lostFields(runId), SqlClient, sql) : []
        }
      })

      /** A rejected line that names its product keeps it: the source still has it. */
      const missing = Effect.fn("PublishTransaction.missing")(function* (runId: RunId) {
        const rows = yield* sql<{ readonly id: string }>`SELECT id FROM public.products WHERE removed_at IS NULL
          EXCEPT SELECT unnest(ids || unchanged) FROM medipim.stage_batches WHERE run_id = ${runId}
          EXCEPT SELECT product_id FROM medipim.rejected_records WHERE run_id = ${runId}`
        return rows.map(({ id }) => id)
      })

      const recordPublish = Effect.fn("PublishTransaction.recordPublish")(function* (
        result: PublishResult,
        snapshotId: SnapshotId
      ) {
        yield* sql`UPDATE medipim.sync_runs
          SET result = ${yield* Effect.orDie(stored(result))}::jsonb, published_at = now(),
            snapshot_id = ${snapshotId}
          WHERE id = ${result.runId}`
      })

      return PublishTransaction.of({ disableStatementTimeout, lockRun, isCancelled, staged, missing, recordPublish })
    })
  )
}
