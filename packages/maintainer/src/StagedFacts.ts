import type { RunId } from "@medipim/domain/Ids"
import type { StagedFacts } from "@medipim/domain/PublishRules"
import { sumFields, UnknownField } from "@medipim/domain/UnknownFields"
import { rowAs, rowsAs } from "@medipim/platform/database/Postgres"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { lostFields } from "./LostFields.ts"

const ChunkFields = Schema.Struct({ fields: Schema.Array(UnknownField) })

const Counted = Schema.Struct({
  known: Schema.Int,
  distinct: Schema.Int,
  inserted: Schema.Int,
  updated: Schema.Int,
  restored: Schema.Int,
  rejected: Schema.Int,
  rejectedWithoutId: Schema.Int,
  chunkRecords: Schema.Int,
  stagedByChunks: Schema.Int,
  stale: Schema.Int,
  present: Schema.Int
})

const WentBack = Schema.Struct({ products: Schema.Int, example: Schema.NullOr(Schema.String) })

/**
 * Of two lines of a product the one with the later `meta.updatedAt` counts, and of two in one second the one that comes
 * later. An unchanged line has the time that is stored.
 */
const deleteSuperseded = Effect.fn("StagedFacts.deleteSuperseded")(function* (runId: RunId) {
  const sql = yield* SqlClient
  const deleted = yield* sql`WITH older AS MATERIALIZED (
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
  return deleted.length
})

const count = Effect.fn("StagedFacts.count")(function* (runId: RunId, offset: number) {
  const sql = yield* SqlClient
  // Only chunks that follow each other without gap or overlap count as staged.
  return yield* sql`WITH chunks AS (
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
    FROM seen, stage, rejects`.pipe(rowAs(Counted))
})

const wentBack = Effect.fn("StagedFacts.wentBack")(function* (runId: RunId) {
  const sql = yield* SqlClient
  return yield* sql`SELECT count(*)::int AS products, min(s.id) AS example
    FROM medipim.stage_products AS s JOIN public.products AS p USING (id)
    WHERE s.run_id = ${runId} AND s.medipim_updated_at < p.medipim_updated_at`.pipe(rowAs(WentBack))
})

const unknownFields = Effect.fn("StagedFacts.unknownFields")(function* (runId: RunId) {
  const sql = yield* SqlClient
  const chunks = yield* sql`SELECT unknown_fields AS fields FROM medipim.sync_chunks WHERE run_id = ${runId}`.pipe(
    rowsAs(ChunkFields)
  )
  return sumFields(chunks.flatMap(({ fields }) => fields))
})

const none = { products: 0, example: null }

/** What the staging tables hold of a run that stages from this record on, once superseded rows are deleted. */
export const stagedFacts = Effect.fn("StagedFacts.stagedFacts")(function* (runId: RunId, offset: number) {
  const superseded = yield* deleteSuperseded(runId)
  const counted = yield* count(runId, offset)
  const back = counted.updated + counted.restored > 0 ? yield* wentBack(runId) : none
  const facts: Omit<StagedFacts, "newerPublished"> = {
    ...counted,
    superseded,
    wentBack: back.products,
    wentBackExample: back.example,
    unknownFields: yield* unknownFields(runId),
    lostFields: counted.updated > 0 ? yield* lostFields(runId) : []
  }
  return facts
})
