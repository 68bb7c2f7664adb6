import { PgTypes } from "@effect/sql-pg"
import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { columnNames, columnTypes } from "@medipim/domain/ProductColumns"
import type { StagedFacts } from "@medipim/domain/PublishRules"
import { UnknownField } from "@medipim/domain/UnknownFields"
import type { ChunkCounts } from "@medipim/http-api/MaintainerApi"
import {
  abortIdleTransaction,
  retriedOutsideTransaction,
  retryDatabaseOutage
} from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { type RunNotRunning, RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, Effect, Layer, Option, Result, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { columnText } from "./ColumnText.ts"
import type { Decided, Decision } from "./Decision.ts"
import type { StoredLine } from "./SnapshotReader.ts"
import { stagedFacts } from "./StagedFacts.ts"

/** Cast to text[] explicitly: the driver cannot infer an element type when every value is null. */
export const textArray = (values: ReadonlyArray<string | null>) =>
  Result.getOrThrow(PgTypes.array(values, PgTypes.OID.text))

/** A row to be staged and the place of its line in the snapshot. */
interface StagedRow {
  readonly record: number
  readonly decision: Extract<Decision, { row: unknown }>
}

const encodeFields = Schema.encodeEffect(Schema.fromJsonString(Schema.Array(UnknownField)))

const names = columnNames.join(", ")
const updates = columnNames.map((name) => `EXCLUDED.${name}`).join(", ")
// Parameters: run, records, changes, line hashes, columns to keep, then one text array a column.
const arrays = columnNames.map((_, i) => `$${i + 6}::text[]`).join(", ")

/** Inserts rows given as arrays; of two lines of a product the later one stays. `values` are the columns, `from` adds a join. */
const insertStage = (values: string, from: string): string =>
  `INSERT INTO medipim.stage_products AS s (run_id, record, change, line_hash, ${names})
    SELECT $1, u.record, u.change, u.line_hash, ${values}
    FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], ${arrays}) AS u(record, change, line_hash, kept, ${names})
    ${from}
    ON CONFLICT (run_id, id) DO UPDATE SET (record, change, line_hash, ${names}) =
      (EXCLUDED.record, EXCLUDED.change, EXCLUDED.line_hash, ${updates})
    WHERE (coalesce(EXCLUDED.medipim_updated_at, '-infinity'), EXCLUDED.record) >
      (coalesce(s.medipim_updated_at, '-infinity'), s.record)`

const insertUnderstood = insertStage(columnTypes.map(([name, type]) => `u.${name}::${type}`).join(", "), "")

/** A column whose value was not understood gets the one that is stored, if the product is. */
const insertKeeping = insertStage(
  columnTypes
    .map(([name, type]) => {
      const keeps = `p.id IS NOT NULL AND '${name}' = ANY(string_to_array(u.kept, ','))`
      return `CASE WHEN ${keeps} THEN p.${name} ELSE u.${name}::${type} END`
    })
    .join(", "),
  "LEFT JOIN public.products AS p ON p.id = u.id"
)

/** One statement must not meet a product twice: the newest line of the batch is kept. */
const rowsOf = (batch: ReadonlyArray<Decided>): ReadonlyArray<StagedRow> => {
  const byId = new Map<string, StagedRow>()
  for (const { line, decision } of batch) {
    if (!("row" in decision)) continue
    const before = byId.get(decision.row.id)
    const isNewer =
      before === undefined || (decision.row.medipim_updated_at ?? "") >= (before.decision.row.medipim_updated_at ?? "")
    if (isNewer) byId.set(decision.row.id, { record: line.record, decision })
  }
  return [...byId.values()]
}

/** Bytes of a rejected line that are kept; of a longer one the part of the snapshot has the rest. */
const longestRaw = 256 * 1024

/** Postgres takes no NUL in a text. */
const withoutNul = (text: string): string => text.replaceAll("\u0000", "")

/** The staging tables: the differences between a snapshot and the catalogue, until they are published. */
export class StagingTables extends Context.Service<
  StagingTables,
  {
    /** Writes the differences of a batch. Repeating it changes nothing. */
    readonly write: (
      runId: RunId,
      snapshotId: SnapshotId,
      batch: ReadonlyArray<Decided>,
      /** Which rejected lines are kept with their text; of the others the snapshot alone has it. */
      keepsText: (line: StoredLine) => boolean
    ) => Effect.Effect<void, SqlError>
    /** Records that a chunk is staged, with its counts. */
    readonly finish: (
      runId: RunId,
      offset: number,
      counts: ChunkCounts,
      fields: ReadonlyArray<UnknownField>
    ) => Effect.Effect<void, SqlError>
    /**
     * Forgets what an earlier try of this chunk left, so that staging it again gives the same rows. A publish of the run
     * sees all of the earlier try or none of it; once it has published, or is over, nothing of the run is forgotten.
     */
    readonly restart: (runId: RunId, chunk: Chunk) => Effect.Effect<void, SqlError | RunNotRunning>
    /**
     * What is staged for a run, in the transaction of its publish; rows whose product has a later line that is unchanged are
     * deleted first.
     */
    readonly facts: (runId: RunId, snapshotId: SnapshotId, range: Chunk) => Effect.Effect<StagedFacts, SqlError>
    /** Deletes what runs that have ended left. */
    readonly deleteStaleStaging: Effect.Effect<void, SqlError>
    /** Deletes what is staged for a run. */
    readonly clear: (runId: RunId) => Effect.Effect<void, SqlError>
    /** The same, and gives the space back. */
    readonly empty: (runId: RunId) => Effect.Effect<void, SqlError>
  }
>()("maintainer/StagingTables") {
  static readonly layer = Layer.effect(
    StagingTables,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const order = yield* PublishOrder
      const records = yield* RunRecords
      const repeat = retriedOutsideTransaction(sql, retryDatabaseOutage)

      const stageRows = (runId: RunId, rows: ReadonlyArray<StagedRow>, statement: string) =>
        rows.length === 0
          ? Effect.succeed([])
          : sql.unsafe(statement, [
              runId,
              rows.map(({ record }) => record),
              textArray(rows.map(({ decision }) => decision._tag)),
              textArray(rows.map(({ decision }) => decision.lineHash)),
              textArray(rows.map(({ decision }) => decision.unknown.join())),
              ...columnNames.map((name) => textArray(rows.map(({ decision }) => columnText(decision.row[name]))))
            ])

      const recordSeenIds = (runId: RunId, batch: ReadonlyArray<Decided>) => {
        const ids: Array<string> = []
        const unchanged: Array<string> = []
        const unchangedAt: Array<number> = []
        for (const { line, decision } of batch) {
          if (decision._tag === "rejected") continue
          if (decision._tag !== "unchanged") ids.push("row" in decision ? decision.row.id : decision.id)
          else {
            unchanged.push(decision.id)
            unchangedAt.push(line.record)
          }
        }
        return sql`INSERT INTO medipim.stage_batches (run_id, first_record, ids, unchanged, unchanged_at)
          VALUES (${runId}, ${batch[0]?.line.record ?? 0}, ${ids}::text[], ${unchanged}::text[], ${unchangedAt}::int[])
          ON CONFLICT (run_id, first_record) DO UPDATE SET ids = EXCLUDED.ids, unchanged = EXCLUDED.unchanged,
            unchanged_at = EXCLUDED.unchanged_at`
      }

      const reject = (
        runId: RunId,
        snapshotId: SnapshotId,
        batch: ReadonlyArray<Decided>,
        keepsText: (line: StoredLine) => boolean
      ) => {
        const rejected = batch.flatMap(({ line, decision }) =>
          decision._tag === "rejected" ? [{ line, decision }] : []
        )
        if (rejected.length === 0) return Effect.succeed([])
        const raw = rejected.map(({ line }) => (keepsText(line) ? line.bytes.toString("base64", 0, longestRaw) : ""))
        return sql`INSERT INTO medipim.rejected_records
            (run_id, record, snapshot_id, part, line_index, product_id, reason, raw, line_bytes)
          SELECT ${runId}, u.record, ${snapshotId}, u.part, u.line_index, u.product_id, u.reason,
            decode(u.raw, 'base64'), u.line_bytes
          FROM unnest(${rejected.map(({ line }) => line.record)}::int[],
            ${textArray(rejected.map(({ line }) => line.part))},
            ${rejected.map(({ line }) => line.lineIndex)}::int[],
            ${textArray(rejected.map(({ decision }) => (decision.id === undefined ? null : withoutNul(decision.id))))},
            ${textArray(rejected.map(({ decision }) => withoutNul(decision.reason)))},
            ${textArray(raw)},
            ${rejected.map(({ line }) => line.length)}::int[])
            AS u(record, part, line_index, product_id, reason, raw, line_bytes)
          ON CONFLICT (run_id, record) DO NOTHING`
      }

      const write: StagingTables["Service"]["write"] = Effect.fn("StagingTables.write")(function* (
        runId,
        snapshotId,
        batch,
        keepsText
      ) {
        const rows = rowsOf(batch)
        const isUnderstood = ({ decision }: StagedRow) => decision.unknown.length === 0
        yield* stageRows(runId, rows.filter(isUnderstood), insertUnderstood)
        yield* stageRows(
          runId,
          rows.filter((row) => !isUnderstood(row)),
          insertKeeping
        )
        yield* recordSeenIds(runId, batch)
        yield* reject(runId, snapshotId, batch, keepsText)
      }, repeat)

      const finish: StagingTables["Service"]["finish"] = Effect.fn("StagingTables.finish")(function* (
        runId,
        offset,
        counts,
        fields
      ) {
        const row = {
          run_id: runId,
          first_record: offset,
          ...counts,
          unknown_fields: yield* Effect.orDie(encodeFields(fields))
        }
        yield* sql`INSERT INTO medipim.sync_chunks ${sql.insert(row)}
            ON CONFLICT (run_id, first_record) DO UPDATE SET records = EXCLUDED.records, inserted = EXCLUDED.inserted,
              updated = EXCLUDED.updated, restored = EXCLUDED.restored, unchanged = EXCLUDED.unchanged,
              stale = EXCLUDED.stale, rejected = EXCLUDED.rejected, unknown_fields = EXCLUDED.unknown_fields,
              staged_at = now()`
      }, repeat)

      const restart = Effect.fn("StagingTables.restart")(
        function* (runId: RunId, { offset, limit }: Chunk) {
          yield* sql.unsafe(abortIdleTransaction)
          yield* records.lockForStaging(runId)
          const within = (column: string) =>
            sql`run_id = ${runId} AND ${sql(column)} >= ${offset} AND ${sql(column)} < ${offset + limit}`
          const batches = yield* sql`DELETE FROM medipim.stage_batches WHERE ${within("first_record")} RETURNING 1`
          yield* sql`DELETE FROM medipim.rejected_records WHERE ${within("record")}`
          yield* sql`DELETE FROM medipim.sync_chunks WHERE ${within("first_record")}`
          // Rows are written before their batch is: without a batch only a batch in flight can have left some.
          if (batches.length > 0) yield* sql`DELETE FROM medipim.stage_products WHERE ${within("record")}`
        },
        sql.withTransaction,
        retryDatabaseOutage
      )

      const facts = Effect.fn("StagingTables.facts")(
        function* (runId: RunId, snapshotId: SnapshotId, { offset }: Chunk) {
          const newerPublished = Option.getOrNull(yield* order.newerThan(snapshotId))
          return { ...(yield* stagedFacts(runId, offset)), newerPublished }
        },
        Effect.provideService(SqlClient, sql)
      )

      const deleteStaged = (condition: Fragment) =>
        Effect.andThen(
          sql`DELETE FROM medipim.stage_products WHERE ${condition}`,
          sql`DELETE FROM medipim.stage_batches WHERE ${condition}`
        ).pipe(Effect.asVoid)

      // One run is running at most. Two ranges of the key, where "all others" would read the whole table.
      const running = sql`(SELECT id FROM medipim.sync_runs WHERE status = 'running')`
      const deleteStaleStaging = deleteStaged(sql`run_id < ${running} OR run_id > ${running}`).pipe(
        repeat,
        Effect.withSpan("StagingTables.deleteStaleStaging")
      )

      const clear = Effect.fn("StagingTables.clear")((runId: RunId) => deleteStaged(sql`run_id = ${runId}`), repeat)

      /**
       * VACUUM gives the space back. It takes the lock that this needs only when it is free: a reader of these tables, a
       * backup say, neither waits nor is waited for, but for the five seconds a table in which VACUUM looks again.
       */
      const empty = (runId: RunId) =>
        clear(runId).pipe(
          Effect.andThen(sql`VACUUM (SKIP_LOCKED) medipim.stage_products, medipim.stage_batches`),
          Effect.withSpan("StagingTables.empty")
        )

      return StagingTables.of({ write, finish, restart, facts, deleteStaleStaging, clear, empty })
    })
  )
}
