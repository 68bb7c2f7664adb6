import { type RunId, type SnapshotId, timedIdOf } from "@medipim/domain/Ids"
import { noOutcomes } from "@medipim/domain/Outcomes"
import { lossWarnings, type PublishCounts, PublishRefused, unknownWarnings } from "@medipim/domain/PublishRules"
import { noProgress } from "@medipim/domain/Run"
import { sumFields, type UnknownField } from "@medipim/domain/UnknownFields"
import { Busy } from "@medipim/http-api/Failure"
import type { ReplayRequest, ReplayResult } from "@medipim/http-api/MaintainerApi"
import { passingFaults } from "@medipim/platform/Postgres"
import { PublishOrder } from "@medipim/platform/PublishOrder"
import { Clock, Context, Data, Effect, Layer, Option, Random, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { ChunkStager, fieldsIn } from "./ChunkStager.ts"
import { ProductTable } from "./ProductTable.ts"
import { PublishTransaction } from "./PublishTransaction.ts"
import { RejectedRecords } from "./RejectedRecords.ts"
import { SnapshotReader, type StoredLine } from "./SnapshotReader.ts"
import { type Decided, StagingTables, textArray } from "./StagingTables.ts"

/** Lines in memory at once. */
const batchSize = 200

/** Takes back all that the transaction has done, and keeps what it found out. */
class RollBack extends Data.TaggedError("RollBack")<{ readonly result: ReplayResult }> {}

/** How many lines were found to be what. */
interface Seen {
  readonly examined: number
  readonly rejected: number
  readonly unchanged: number
  readonly stale: number
  readonly fields: ReadonlyArray<UnknownField>
}
const nothingSeen: Seen = { examined: 0, rejected: 0, unchanged: 0, stale: 0, fields: [] }

const add = (seen: Seen, batch: ReadonlyArray<Decided>): Seen => {
  const of = (tag: string) => batch.filter(({ decision }) => decision._tag === tag).length
  return {
    examined: seen.examined + batch.length,
    rejected: seen.rejected + of("rejected"),
    unchanged: seen.unchanged + of("unchanged"),
    stale: seen.stale + of("stale"),
    fields: sumFields([...seen.fields, ...fieldsIn(batch)])
  }
}

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
      const transaction = yield* PublishTransaction
      const table = yield* ProductTable
      const order = yield* PublishOrder
      const reader = yield* SnapshotReader
      const rejectedRecords = yield* RejectedRecords
      const stage = yield* ChunkStager
      const staging = yield* StagingTables

      /** Occupies the slot of the one running run; others see it only once it has ended. */
      const begin = Effect.fnUntraced(function* (runId: RunId, request: ReplayRequest) {
        const made = yield* sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at)
          VALUES (${runId}, 'replay', ${JSON.stringify(request.dryRun === true ? { dryRun: true } : {})}::jsonb,
            'running', 'publishing', ${JSON.stringify(noProgress)}::jsonb, now())
          ON CONFLICT DO NOTHING RETURNING id`
        if (made.length > 0) return
        const [other] = yield* sql<{ readonly id: string }>`SELECT id FROM medipim.sync_runs WHERE status = 'running'`
        return yield* new Busy(
          other === undefined
            ? { message: "Another sync held the place of the run a moment ago; try again.", job: "" }
            : { message: `Sync ${other.id} is running; replay when it has ended.`, job: other.id }
        )
      })

      /**
       * A line that says that it is older than what is stored overwrites nothing. Where a newer snapshot was published in part,
       * and where the snapshot itself has written another line of the product, it has to say that it is newer: nothing else
       * shows which of them is.
       */
      const notOverNewer = Effect.fnUntraced(function* (snapshotId: SnapshotId, batch: ReadonlyArray<Decided>) {
        const rows = batch.flatMap(({ decision }) => ("row" in decision ? [decision.row] : []))
        const kept = yield* sql<{ readonly id: string }>`SELECT p.id FROM public.products AS p
          JOIN unnest(${textArray(rows.map(({ id }) => id))},
            ${textArray(rows.map((row) => row.medipim_updated_at))}::timestamptz[]) AS line (id, updated_at)
            ON line.id = p.id
          WHERE p.removed_at IS NULL AND (line.updated_at < p.medipim_updated_at
            OR (line.updated_at > p.medipim_updated_at) IS NOT TRUE AND EXISTS (
              SELECT FROM medipim.published_snapshots AS o
              WHERE (o.snapshot_id = ${snapshotId} AND o.run_id = p.last_run_id) OR o.seq > (
                SELECT max(seq) FROM medipim.published_snapshots WHERE snapshot_id = ${snapshotId})))`
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

      /** Decides the waiting lines and stages what they change. */
      const stageWaiting = Effect.fnUntraced(function* (runId: RunId, snapshotId: SnapshotId, request: ReplayRequest) {
        let seen = nothingSeen
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
          const batch = yield* notOverNewer(snapshotId, yield* stage.decide(whole, "line"))
          const passed = batch.filter(({ decision }) => decision._tag !== "rejected")
          if (passed.length > 0) yield* staging.write(runId, snapshotId, passed, () => true)
          const records = passed.map(({ line }) => line.record)
          yield* rejectedRecords.markReplayed(snapshotId, records, runId)
          seen = add(seen, batch)
        }
      })

      const counted = Effect.fnUntraced(function* (
        runId: RunId,
        snapshotId: SnapshotId | undefined,
        { examined, rejected, unchanged, stale, fields }: Seen
      ) {
        const none = { inserted: 0, updated: 0, restored: 0, lostFields: [] }
        const { inserted, updated, restored, lostFields } =
          snapshotId === undefined ? none : yield* transaction.staged(runId, snapshotId, { offset: 0, limit: 0 })
        const duplicates = examined - rejected - unchanged - stale - inserted - updated - restored
        const changes = { inserted, updated, restored, unchanged, stale, rejected, duplicates }
        const counts = { ...noOutcomes, ...changes, records: examined }
        return { counts, warnings: [...unknownWarnings(fields), ...lossWarnings(lostFields)] }
      })

      const end = Effect.fnUntraced(function* (
        runId: RunId,
        { records, ...changes }: PublishCounts,
        errors: ReadonlyArray<string>
      ) {
        const progress = {
          ...noProgress,
          ...changes,
          fetched: true,
          recordsFetched: records,
          recordsTotal: records,
          totalRecords: records,
          percent: 100,
          etaSeconds: 0,
          errors
        }
        yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded', phase = 'idle', ended_at = clock_timestamp(),
          progress = ${JSON.stringify(progress)}::jsonb WHERE id = ${runId}`
      })

      const work = Effect.fnUntraced(function* (runId: RunId, request: ReplayRequest) {
        yield* transaction.disableStatementTimeout
        yield* begin(runId, request)
        const snapshotId = Option.getOrUndefined(yield* order.current)
        const superseded = yield* rejectedRecords.superseded(snapshotId ?? null, request)
        const seen = snapshotId === undefined ? nothingSeen : yield* stageWaiting(runId, snapshotId, request)
        const { counts, warnings } = yield* counted(runId, snapshotId, seen)
        const replayed = seen.examined - seen.rejected
        const result = { examined: seen.examined, replayed, stillRejected: seen.rejected, superseded, counts, warnings }
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
        yield* transaction.recordPublish({ runId, published: true, counts, warnings: all }, snapshotId)
        yield* end(runId, counts, all)
        return { ...result, runId, warnings: all }
      })

      const isThere = (runId: RunId) =>
        Effect.map(sql`SELECT FROM medipim.sync_runs WHERE id = ${runId}`, (rows) => rows.length > 0)

      const run = Effect.fn("Replay.run")(function* (request: ReplayRequest) {
        const id = timedIdOf(yield* Clock.currentTimeMillis, yield* Random.nextIntBetween(0, 0xffffffff)) as RunId
        let done: ReplayResult | undefined
        /** The result of an earlier attempt that committed although its acknowledgement was lost. */
        const earlier = Effect.suspend(() =>
          done === undefined
            ? Effect.succeedNone
            : Effect.map(isThere(id), (there) => (there ? Option.fromUndefinedOr(done) : Option.none()))
        )
        const orEarlier = <E>(otherwise: Effect.Effect<ReplayResult, E>) =>
          Effect.flatMap(earlier, Option.match({ onNone: () => otherwise, onSome: Effect.succeed }))
        const begun = sql.withTransaction(
          Effect.tap(work(id, request), (result) =>
            Effect.sync(() => {
              done = result
            })
          )
        )
        // If our own earlier commit is still in flight it occupies the run slot, so a `Busy` is checked against it first.
        const attempt = orEarlier(begun).pipe(Effect.catchTag("Busy", (busy) => orEarlier(Effect.fail(busy))))
        return yield* attempt.pipe(
          Effect.retry(passingFaults),
          Effect.catchTag("RollBack", ({ result }) => Effect.succeed(result))
        )
      })

      return Replay.of({ run })
    })
  )
}
