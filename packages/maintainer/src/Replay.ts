import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { noOutcomes } from "@medipim/domain/Outcomes"
import { lossWarnings, PublishRefused, unknownWarnings } from "@medipim/domain/PublishRules"
import { noProgress } from "@medipim/domain/Run"
import { Busy } from "@medipim/http-api/Failure"
import type { PublishResult, ReplayRequest, ReplayResult } from "@medipim/http-api/MaintainerApi"
import { briefRetries, rowsAs, withoutStatementTimeout } from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, Data, Effect, Layer, Option, Predicate, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Decided } from "./Decision.ts"
import { addToTally, decideBatch, emptyTally, type Tally } from "./LineDecisions.ts"
import { ProductTable } from "./ProductTable.ts"
import { RejectedRecords } from "./RejectedRecords.ts"
import { SnapshotReader, type StoredLine } from "./SnapshotReader.ts"
import { StagingTables, textArray } from "./StagingTables.ts"

/** Lines in memory at once. */
const batchSize = 200

const Kept = Schema.Struct({ id: Schema.String })

/** Takes back all that the transaction has done, and keeps what it found out. */
class RollBack extends Data.TaggedError("RollBack")<{ readonly result: ReplayResult }> {}

/**
 * Gives rejected lines of the published snapshot another chance, with the rules of today: what passes is written to the
 * catalogue, in one transaction or not at all. Nothing is removed by it, and an older state overwrites nothing.
 */
export class Replay extends Context.Service<
  Replay,
  {
    /** Repeating it does nothing more: a line is published once. Fails while a sync runs. */
    readonly run: (request: ReplayRequest) => Effect.Effect<ReplayResult, Busy | PublishRefused | SqlError>
  }
>()("maintainer/Replay") {
  static readonly layer = Layer.effect(
    Replay,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const records = yield* RunRecords
      const table = yield* ProductTable
      const order = yield* PublishOrder
      const reader = yield* SnapshotReader
      const rejectedRecords = yield* RejectedRecords
      const staging = yield* StagingTables

      /** Occupies the slot of the one running run; others see it only once it has ended. */
      const begin = ({ dryRun }: ReplayRequest) =>
        records.begin(dryRun === true ? { dryRun } : {}, "replay").pipe(
          Effect.map(({ runId }) => runId),
          Effect.catchTag("SyncRunning", ({ runId }) =>
            Effect.fail(new Busy({ message: `Sync ${runId} is running; replay when it has ended.`, job: runId }))
          )
        )

      /**
       * A line that says that it is older than what is stored overwrites nothing. Where a newer snapshot was published in part,
       * and where the snapshot itself has written another line of the product, it has to say that it is newer: nothing else
       * shows which of them is.
       */
      const notOverNewer = Effect.fnUntraced(function* (snapshotId: SnapshotId, batch: ReadonlyArray<Decided>) {
        const rows = batch.flatMap(({ decision }) => ("row" in decision ? [decision.row] : []))
        const kept = yield* sql`SELECT p.id FROM public.products AS p
          JOIN unnest(${textArray(rows.map(({ id }) => id))},
            ${textArray(rows.map((row) => row.medipim_updated_at))}::timestamptz[]) AS line (id, updated_at)
            ON line.id = p.id
          WHERE p.removed_at IS NULL AND (line.updated_at < p.medipim_updated_at
            OR (line.updated_at > p.medipim_updated_at) IS NOT TRUE AND EXISTS (
              SELECT FROM medipim.published_snapshots AS o
              WHERE (o.snapshot_id = ${snapshotId} AND o.run_id = p.last_run_id) OR o.seq > (
                SELECT max(seq) FROM medipim.published_snapshots WHERE snapshot_id = ${snapshotId})))`.pipe(
          rowsAs(Kept)
        )
        const ids = new Set(kept.map(({ id }) => id))
        return batch.map((decided): Decided => {
          const { decision, line } = decided
          return "row" in decision && ids.has(decision.row.id)
            ? { line, decision: { _tag: "stale", id: decision.row.id, unknown: decision.unknown } }
            : decided
        })
      })

      /** The lines with all of their bytes: what was not kept here is read from the snapshot, as long as it has it. */
      const completed = Effect.fnUntraced(function* (snapshotId: SnapshotId, lines: ReadonlyArray<StoredLine>) {
        const cut = lines.filter(({ bytes, length }) => bytes.length < length)
        const [first, last] = [cut[0], cut.at(-1)]
        if (first === undefined || last === undefined) return lines
        const wanted = new Set(cut.map(({ record }) => record))
        const range = { offset: first.record, limit: last.record - first.record + 1 }
        const manifest = yield* reader.manifest(snapshotId)
        const read = yield* reader.lines(manifest, range).pipe(
          Stream.filter(({ record }) => wanted.has(record)),
          Stream.runCollect
        )
        const whole = new Map(read.map((line) => [line.record, line]))
        return lines.map((line) => whole.get(line.record) ?? line)
      })

      const inCatalogue = Effect.provideService(ProductTable, table)

      /** Decides the waiting lines and stages what they change. */
      const stageWaiting = Effect.fnUntraced(function* (runId: RunId, snapshotId: SnapshotId, request: ReplayRequest) {
        let seen = emptyTally
        for (let behind = -1; ; ) {
          const lines = yield* rejectedRecords.waiting(snapshotId, request, behind, batchSize)
          const last = lines.at(-1)
          if (last === undefined) return seen
          behind = last.record
          const whole = yield* completed(snapshotId, lines).pipe(
            Effect.catchTag(["StoreError", "SnapshotBroken"], (error) =>
              Effect.as(Effect.logWarning(`Rejected lines cannot be read again: ${error.message}`), lines)
            )
          )
          const batch = yield* notOverNewer(snapshotId, yield* inCatalogue(decideBatch(whole, "line")))
          const passed = batch.filter(({ decision }) => decision._tag !== "rejected")
          if (passed.length > 0) yield* staging.write(runId, snapshotId, passed, () => true)
          const numbers = passed.map(({ line }) => line.record)
          yield* rejectedRecords.markReplayed(snapshotId, numbers, runId)
          seen = addToTally(seen, batch)
        }
      })

      const counted = Effect.fnUntraced(function* (
        runId: RunId,
        snapshotId: SnapshotId | undefined,
        { counts: { records, rejected, unchanged, stale }, fields }: Tally
      ) {
        const none = { inserted: 0, updated: 0, restored: 0, lostFields: [] }
        const { inserted, updated, restored, lostFields } =
          snapshotId === undefined ? none : yield* staging.facts(runId, snapshotId, { offset: 0, limit: 0 })
        const duplicates = records - rejected - unchanged - stale - inserted - updated - restored
        const counts = { ...noOutcomes, records, inserted, updated, restored, unchanged, stale, rejected, duplicates }
        return { counts, warnings: [...unknownWarnings(fields), ...lossWarnings(lostFields)] }
      })

      const end = Effect.fnUntraced(function* (result: PublishResult, snapshotId: SnapshotId) {
        const { runId, counts, warnings } = result
        const done = { recordsFetched: counts.records, recordsTotal: counts.records, totalRecords: counts.records }
        const progress = { ...noProgress, ...done, fetched: true, errors: warnings }
        yield* records.recordPublish(result, snapshotId)
        yield* records.advance(runId, { phase: "publishing", snapshotId, progress })
        yield* records.end(runId, { status: "succeeded" })
      })

      const work = Effect.fnUntraced(function* (runId: RunId, request: ReplayRequest) {
        const snapshotId = Option.getOrUndefined(yield* order.current)
        const superseded = yield* rejectedRecords.superseded(snapshotId ?? null, request)
        const seen = snapshotId === undefined ? emptyTally : yield* stageWaiting(runId, snapshotId, request)
        const { counts, warnings } = yield* counted(runId, snapshotId, seen)
        const { records: examined, rejected: stillRejected } = counts
        const replayed = examined - stillRejected
        const result = { examined, replayed, stillRejected, superseded, counts, warnings }
        if (snapshotId === undefined || replayed === 0 || request.dryRun === true) {
          return yield* new RollBack({ result: { runId: null, ...result } })
        }
        yield* table.write(runId)
        const done = yield* table.readBack(runId, [])
        if (done.unwritten !== undefined) {
          const message = `Nothing was published: ${done.unwritten}`
          return yield* new PublishRefused({ reason: "not-written", message, counts })
        }
        const all = [...warnings, ...done.warnings]
        yield* staging.clear(runId)
        yield* end({ runId, published: true, counts, warnings: all }, snapshotId)
        return { ...result, runId, warnings: all }
      })

      const run = Effect.fn("Replay.run")(function* (request: ReplayRequest) {
        let replayed: Effect.Success<ReturnType<typeof work>> | undefined
        /** The result of an earlier attempt that committed although its acknowledgement was lost. */
        const committed = Effect.suspend(() =>
          replayed === undefined
            ? Effect.undefined
            : Effect.map(records.find(replayed.runId), (run) => (Option.isSome(run) ? replayed : undefined))
        )
        const attempt = Effect.gen(function* () {
          yield* withoutStatementTimeout(sql)
          // Waits for a commit of ours that is still in flight: it occupies the slot.
          const runId = yield* begin(request)
          const earlier = yield* committed
          if (earlier !== undefined) return yield* new RollBack({ result: earlier })
          replayed = yield* work(runId, request)
          return replayed
        })
        return yield* sql.withTransaction(attempt).pipe(
          // A sync that began after our commit.
          Effect.catchTag("Busy", (busy) => Effect.filterOrFail(committed, Predicate.isNotUndefined, () => busy)),
          Effect.retry(briefRetries),
          Effect.catchTag("RollBack", ({ result }) => Effect.succeed(result))
        )
      })

      return Replay.of({ run })
    })
  )
}
