import { PgTypes } from "@effect/sql-pg"
import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { ChunkCounts } from "@medipim/http-api/MaintainerApi"
import { orphanedAfter, passingFaults } from "@medipim/platform/Postgres"
import { Context, Effect, Layer, Option, Result, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Decision, Known } from "./Decision.ts"
import { columnNames, columnText, productColumns } from "./ProductColumns.ts"
import type { StoredLine } from "./SnapshotReader.ts"

/** The run was cancelled, has ended or published, or never was. */
export class RunNotRunning extends Schema.TaggedError<RunNotRunning>()("RunNotRunning", { runId: Schema.String }) {
  override get message(): string {
    return `Run ${this.runId} is not running: nothing is staged for it.`
  }
}

/** A line and what is to be done with it. */
export interface Decided {
  readonly line: StoredLine
  readonly decision: Decision
}

/** With its type said: a column in which every value is null tells none. */
export const textArray = (values: ReadonlyArray<string | null>) =>
  Result.getOrThrow(PgTypes.array(values, PgTypes.OID.text))

/** The staging tables: the differences between a snapshot and the catalogue, until they are published. */
export class Staging extends Context.Service<
  Staging,
  {
    /** What the catalogue holds of these products. */
    readonly known: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, Known>, SqlError>
    /** Writes the differences of a batch. Repeating it changes nothing. */
    readonly write: (
      runId: RunId,
      snapshotId: SnapshotId,
      batch: ReadonlyArray<Decided>
    ) => Effect.Effect<void, SqlError>
    /** Records that a chunk is staged, with its counts. */
    readonly finish: (runId: RunId, offset: number, counts: ChunkCounts) => Effect.Effect<void, SqlError>
    /**
     * Forgets what an earlier try of this chunk left, so that staging it again gives the same rows. A publish of the run
     * sees all of the earlier try or none of it; once it has published, or is over, nothing of the run is forgotten.
     */
    readonly restart: (runId: RunId, chunk: Chunk) => Effect.Effect<void, SqlError | RunNotRunning>
    /** Drops what runs before this one left. */
    readonly sweep: (runId: RunId) => Effect.Effect<void, SqlError>
  }
>()("maintainer/Staging") {
  static readonly layer = Layer.effect(
    Staging,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      /** Inside a transaction nothing can be repeated but all of it. */
      const repeat = <A>(effect: Effect.Effect<A, SqlError>) =>
        Effect.flatMap(Effect.serviceOption(sql.transactionService), (transaction) =>
          Option.isSome(transaction) ? effect : Effect.retry(effect, passingFaults)
        )

      /** Until the end of the transaction the run can neither be published nor end; waits for a publish on its way. */
      const stillStages = Effect.fnUntraced(function* (runId: RunId) {
        const rows = yield* sql`SELECT FROM medipim.sync_runs
          WHERE id = ${runId} AND status = 'running' AND published_at IS NULL
            AND NOT EXISTS (SELECT FROM medipim.sync_cancellations WHERE run_id = ${runId})
          FOR SHARE`
        if (rows.length === 0) return yield* new RunNotRunning({ runId })
      })

      const names = columnNames.join(", ")
      const casts = columnNames.map((name) => `u.${name}::${productColumns[name]}`).join(", ")
      // Parameters: run, records, changes, line hashes, then one text array a column.
      const arrays = columnNames.map((_, i) => `$${i + 5}::text[]`).join(", ")
      const insertStage = `INSERT INTO medipim.stage_products AS s (run_id, record, change, line_hash, ${names})
        SELECT $1, u.record, u.change, u.line_hash, ${casts}
        FROM unnest($2::int[], $3::text[], $4::text[], ${arrays}) AS u(record, change, line_hash, ${names})
        ON CONFLICT (run_id, id) DO UPDATE SET (record, change, line_hash, ${names}) =
          (EXCLUDED.record, EXCLUDED.change, EXCLUDED.line_hash, ${columnNames.map((name) => `EXCLUDED.${name}`).join(", ")})
        WHERE (coalesce(EXCLUDED.medipim_updated_at, '-infinity'), EXCLUDED.record) >
          (coalesce(s.medipim_updated_at, '-infinity'), s.record)`

      const stageRows = (runId: RunId, batch: ReadonlyArray<Decided>) => {
        // One statement must not meet a product twice: the newest line of the batch is kept.
        const byId = new Map<
          string,
          { readonly record: number; readonly decision: Extract<Decision, { row: unknown }> }
        >()
        for (const { line, decision } of batch) {
          if (!("row" in decision)) continue
          const before = byId.get(decision.row.id)
          const newer =
            before === undefined ||
            (decision.row.medipim_updated_at ?? "") >= (before.decision.row.medipim_updated_at ?? "")
          if (newer) byId.set(decision.row.id, { record: line.record, decision })
        }
        const rows = [...byId.values()]
        return rows.length === 0
          ? Effect.succeed([])
          : sql.unsafe(insertStage, [
              runId,
              rows.map(({ record }) => record),
              textArray(rows.map(({ decision }) => decision._tag)),
              textArray(rows.map(({ decision }) => decision.lineHash)),
              ...columnNames.map((name) => textArray(rows.map(({ decision }) => columnText(decision.row[name]))))
            ])
      }

      const seen = (runId: RunId, batch: ReadonlyArray<Decided>) => {
        const ids = batch.flatMap(({ decision }) =>
          "row" in decision ? [decision.row.id] : decision._tag === "rejected" ? [] : [decision.id]
        )
        return sql`INSERT INTO medipim.stage_batches (run_id, first_record, ids)
          VALUES (${runId}, ${batch[0]?.line.record ?? 0}, ${ids}::text[])
          ON CONFLICT (run_id, first_record) DO UPDATE SET ids = EXCLUDED.ids`
      }

      const reject = (runId: RunId, snapshotId: SnapshotId, { line, decision }: Decided) =>
        decision._tag === "rejected"
          ? sql`INSERT INTO medipim.rejected_records
              (run_id, record, snapshot_id, part, line_index, product_id, reason, raw)
              VALUES (${runId}, ${line.record}, ${snapshotId}, ${line.part}, ${line.lineIndex},
                ${decision.id?.replaceAll("\u0000", "") ?? null}, ${decision.reason.replaceAll("\u0000", "")},
                ${new Uint8Array(line.bytes)})
              ON CONFLICT (run_id, record) DO NOTHING`
          : Effect.succeed([])

      const known = Effect.fn("Staging.known")(function* (ids: ReadonlyArray<string>) {
        const rows = yield* sql<Known>`SELECT id, content_hash, line_hash, removed_at IS NOT NULL AS removed,
          to_char(medipim_updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
          FROM public.products WHERE id = ANY(${ids}::text[])`
        return new Map(rows.map((row) => [row.id, row]))
      }, repeat)

      const write = Effect.fn("Staging.write")(function* (
        runId: RunId,
        snapshotId: SnapshotId,
        batch: ReadonlyArray<Decided>
      ) {
        yield* stageRows(runId, batch)
        yield* seen(runId, batch)
        yield* Effect.forEach(batch, (decided) => reject(runId, snapshotId, decided), { discard: true })
      }, repeat)

      const finish = Effect.fn("Staging.finish")(function* (runId: RunId, offset: number, counts: ChunkCounts) {
        yield* sql`INSERT INTO medipim.sync_chunks ${sql.insert({ run_id: runId, first_record: offset, ...counts })}
          ON CONFLICT (run_id, first_record) DO UPDATE SET records = EXCLUDED.records, inserted = EXCLUDED.inserted,
            updated = EXCLUDED.updated, restored = EXCLUDED.restored, unchanged = EXCLUDED.unchanged,
            stale = EXCLUDED.stale, rejected = EXCLUDED.rejected, staged_at = now()`
      }, repeat)

      const restart = Effect.fn("Staging.restart")(
        function* (runId: RunId, { offset, limit }: Chunk) {
          yield* sql.unsafe(orphanedAfter)
          yield* stillStages(runId)
          const within = (column: string) =>
            sql`run_id = ${runId} AND ${sql(column)} >= ${offset} AND ${sql(column)} < ${offset + limit}`
          const batches = yield* sql`DELETE FROM medipim.stage_batches WHERE ${within("first_record")} RETURNING 1`
          yield* sql`DELETE FROM medipim.rejected_records WHERE ${within("record")}`
          yield* sql`DELETE FROM medipim.sync_chunks WHERE ${within("first_record")}`
          // Rows are written before their batch is: without a batch only a batch in flight can have left some.
          if (batches.length > 0) yield* sql`DELETE FROM medipim.stage_products WHERE ${within("record")}`
        },
        sql.withTransaction,
        Effect.retry(passingFaults)
      )

      const sweep = Effect.fn("Staging.sweep")(function* (runId: RunId) {
        yield* sql`DELETE FROM medipim.stage_products WHERE run_id < ${runId}`
        yield* sql`DELETE FROM medipim.stage_batches WHERE run_id < ${runId}`
      }, repeat)

      return Staging.of({ known, write, finish, restart, sweep })
    })
  )
}
