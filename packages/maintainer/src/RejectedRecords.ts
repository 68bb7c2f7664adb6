import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { RejectedRecord } from "@medipim/http-api/MaintainerApi"
import { isoTime, rowAs, rowsAs } from "@medipim/platform/database/Postgres"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { StoredLine } from "./SnapshotReader.ts"

/** Which lines are meant. `reason` is a part of the reason, whatever its case. */
export interface RejectedFilter {
  readonly runId?: string | undefined
  readonly reason?: string | undefined
}

/** Which lines to show, newest run first. */
interface RejectedPageRequest extends RejectedFilter {
  readonly page?: number | undefined
  readonly size?: number | undefined
}

interface Answer {
  readonly total: number
  readonly records: ReadonlyArray<typeof RejectedRecord.Type>
}

const Counted = Schema.Struct({ lines: Schema.Int })
const Listed = Schema.Struct({ ...RejectedRecord.fields, raw: Schema.Uint8Array })
const Waiting = Schema.Struct({
  record: Schema.Int,
  part: Schema.String,
  lineIndex: Schema.Int,
  raw: Schema.Uint8Array,
  length: Schema.Int
})

/** The bytes of the whole line; rows of earlier versions have all of it. */
const lineBytes = "coalesce(line_bytes, length(raw))"

const defaultSize = 50
/** A batch of waiting lines ends once it holds so much; a line alone may be larger. */
const batchBytes = 4 * 1024 * 1024
/** A list shows at most this much of a line. */
const shownBytes = 65_536

/** Lines that could not be decoded or stored, until they are replayed or replaced. */
export class RejectedRecords extends Context.Service<
  RejectedRecords,
  {
    readonly list: (question: RejectedPageRequest) => Effect.Effect<Answer, SqlError>
    /** How many lines of other snapshots no replay has published. */
    readonly superseded: (snapshotId: SnapshotId | null, chosen: RejectedFilter) => Effect.Effect<number, SqlError>
    /** Up to `limit` rejected lines of the snapshot after this record, in order, that no replay has published. */
    readonly waiting: (
      snapshotId: SnapshotId,
      chosen: RejectedFilter,
      behind: number,
      limit: number
    ) => Effect.Effect<ReadonlyArray<StoredLine>, SqlError>
    /** Notes that a replay has published these lines. */
    readonly markReplayed: (
      snapshotId: SnapshotId,
      records: ReadonlyArray<number>,
      by: RunId
    ) => Effect.Effect<void, SqlError>
  }
>()("maintainer/RejectedRecords") {
  static readonly layer = Layer.effect(
    RejectedRecords,
    Effect.gen(function* () {
      const sql = yield* SqlClient

      const within = ({
        runId,
        reason
      }: RejectedFilter) => sql`(${runId ?? null}::text IS NULL OR run_id = ${runId ?? null})
        AND (${reason ?? null}::text IS NULL OR strpos(lower(reason), lower(${reason ?? null}::text)) > 0)`

      const list = Effect.fn("RejectedRecords.list")(function* (question: RejectedPageRequest) {
        const { page = 0, size = defaultSize } = question
        const wanted = sql`FROM medipim.rejected_records WHERE ${within(question)}`
        const counted = yield* sql`SELECT count(*)::int AS lines ${wanted}`.pipe(rowAs(Counted))
        const rows = yield* sql`SELECT run_id AS "runId", snapshot_id AS "snapshotId", part,
            line_index AS "lineIndex", record, product_id AS "productId", reason,
            substring(raw FOR ${shownBytes}::int) AS raw, ${sql.literal(lineBytes)} AS bytes,
            ${sql.literal(isoTime("rejected_at"))} AS "rejectedAt", replayed_by AS "replayedBy"
          ${wanted} ORDER BY (SELECT seq FROM medipim.sync_runs WHERE id = run_id) DESC NULLS LAST, run_id, record
          LIMIT ${size} OFFSET ${page * size}`.pipe(rowsAs(Listed))
        const records = rows.map((row) => ({ ...row, raw: Buffer.from(row.raw).toString("utf8") }))
        return { total: counted.lines, records }
      })

      const superseded = Effect.fn("RejectedRecords.superseded")(function* (
        snapshotId: SnapshotId | null,
        chosen: RejectedFilter
      ) {
        const counted = yield* sql`SELECT count(*)::int AS lines FROM medipim.rejected_records
          WHERE replayed_by IS NULL AND snapshot_id IS DISTINCT FROM ${snapshotId} AND ${within(chosen)}`.pipe(
          rowAs(Counted)
        )
        return counted.lines
      })

      // A snapshot that was staged by several runs has the same rejected lines several times.
      const waiting = Effect.fn("RejectedRecords.waiting")(function* (
        snapshotId: SnapshotId,
        chosen: RejectedFilter,
        behind: number,
        limit: number
      ) {
        const rows = yield* sql`
          WITH lines AS (
            SELECT DISTINCT ON (record) * FROM medipim.rejected_records
            WHERE snapshot_id = ${snapshotId} AND record > ${behind} AND replayed_by IS NULL AND ${within(chosen)}
            ORDER BY record, length(raw) DESC LIMIT ${limit}
          ), measured AS (
            SELECT *, sum(length(raw)) OVER (ORDER BY record) - length(raw) AS bytes_before FROM lines
          )
          SELECT record, part, line_index AS "lineIndex", raw, ${sql.literal(lineBytes)} AS length FROM measured
          WHERE bytes_before < ${batchBytes}::int ORDER BY record`.pipe(rowsAs(Waiting))
        return rows.map(({ raw, ...place }) => ({ ...place, bytes: Buffer.from(raw) }))
      })

      const markReplayed = Effect.fn("RejectedRecords.markReplayed")(function* (
        snapshotId: SnapshotId,
        records: ReadonlyArray<number>,
        by: RunId
      ) {
        yield* sql`UPDATE medipim.rejected_records SET replayed_by = ${by}
          WHERE snapshot_id = ${snapshotId} AND record = ANY(${records}::int[]) AND replayed_by IS NULL`
      })

      return RejectedRecords.of({ list, superseded, waiting, markReplayed })
    })
  )
}
