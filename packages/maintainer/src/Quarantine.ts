import type { RejectedRecord } from "@medipim/http-api/MaintainerApi"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** Which lines to show, newest run first. `reason` is a part of the reason, whatever its case. */
export interface Question {
  readonly runId?: string | undefined
  readonly reason?: string | undefined
  readonly page?: number | undefined
  readonly size?: number | undefined
}

interface Answer {
  readonly total: number
  readonly records: ReadonlyArray<typeof RejectedRecord.Type>
}

type Row = Omit<typeof RejectedRecord.Type, "raw"> & { readonly raw: Uint8Array }

const defaultSize = 50
/** A list shows this much of a line; the table keeps all of it. */
const shownBytes = 65_536

/** Lines that could not be decoded. */
export class Quarantine extends Context.Service<
  Quarantine,
  { readonly list: (question: Question) => Effect.Effect<Answer, SqlError> }
>()("maintainer/Quarantine") {
  static readonly layer = Layer.effect(
    Quarantine,
    Effect.gen(function* () {
      const sql = yield* SqlClient

      const list = Effect.fn("Quarantine.list")(function* (question: Question) {
        const { runId, reason, page = 0, size = defaultSize } = question
        const wanted = sql`FROM medipim.rejected_records
          WHERE (${runId ?? null}::text IS NULL OR run_id = ${runId ?? null})
            AND (${reason ?? null}::text IS NULL OR strpos(lower(reason), lower(${reason ?? null}::text)) > 0)`
        const [counted] = yield* sql<{ readonly total: number }>`SELECT count(*)::int AS total ${wanted}`
        const rows = yield* sql<Row>`SELECT run_id AS "runId", snapshot_id AS "snapshotId", part,
            line_index AS "lineIndex", record, product_id AS "productId", reason,
            substring(raw FOR ${shownBytes}::int) AS raw,
            to_char(rejected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "rejectedAt"
          ${wanted} ORDER BY run_id DESC, record LIMIT ${size} OFFSET ${page * size}`
        const records = rows.map((row) => ({ ...row, raw: Buffer.from(row.raw).toString("utf8") }))
        return { total: counted?.total ?? 0, records }
      })

      return Quarantine.of({ list })
    })
  )
}
