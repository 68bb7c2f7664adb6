import type { Chunk } from "@medipim/domain/ChunkPlan"
import { type RunId, SnapshotId } from "@medipim/domain/Ids"
import { SnapshotSummary } from "@medipim/domain/Snapshot"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import { ChunkCounts, PublishResult } from "@medipim/http-api/MaintainerApi"
import { retryDatabaseOutage } from "@medipim/platform/database/Postgres"
import { type Ending, RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, type Duration, Effect, Layer, Option, Schema } from "effect"
import { Activity, type WorkflowEngine } from "effect/workflow"
import { whileActive } from "./Cancellation.ts"
import { retryEnginePersistence } from "./EngineRetry.ts"
import { MachineWaker } from "./MachineWaker.ts"
import { Notifier } from "./Notifier.ts"
import type { ProgressReporter } from "./ProgressReporter.ts"
import { Retention } from "./Retention.ts"
import { call, failed, follow, SyncFailed } from "./ServiceCalls.ts"
import { SnapshotSelection } from "./SnapshotSelection.ts"

type InWorkflow = WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance
type Step<A> = Effect.Effect<A, SyncFailed, InWorkflow>

/** Ten times what the largest catalogue that was measured takes; a retry is safe. */
const longestPublish = "15 minutes"

/** What is staged and published. In a second round the same chunks are staged again. */
export interface StagingJob {
  readonly runId: RunId
  readonly snapshotId: SnapshotId
  readonly round: 1 | 2
}

const roundSuffix = (round: StagingJob["round"]): string => (round === 1 ? "" : "/again")

interface Limits {
  /** Chunks staged at once. */
  readonly chunkConcurrency: number
  /** A run that takes longer is stopped. */
  readonly maxRunDuration: Duration.Duration
}

/** The steps of a run. The result of each is stored, so that a run that resumes skips it. */
export class Steps extends Context.Service<
  Steps,
  {
    /** Downloads a snapshot, or finds a fresh one. */
    readonly fetch: (runId: RunId, options: SyncOptions, reporter: ProgressReporter) => Step<SnapshotSummary>
    /** Finds the snapshot to maintain: the named one, or the newest. */
    readonly choose: (runId: RunId, options: SyncOptions) => Step<SnapshotSummary>
    readonly stage: (work: StagingJob, chunks: ReadonlyArray<Chunk>, reporter: ProgressReporter) => Step<void>
    readonly publish: (work: StagingJob, options: SyncOptions) => Step<PublishResult>
    /** Deletes expired snapshots and rows. Its failure never fails the run. */
    readonly prune: (runId: RunId) => Effect.Effect<void, never, InWorkflow>
    /** Sends how the run ends. Returns what went wrong, if anything; that never fails the run. */
    readonly notify: (runId: RunId, ending: Ending) => Effect.Effect<string | null, never, InWorkflow>
  }
>()("orchestrator/Steps") {
  static readonly layer = ({ chunkConcurrency, maxRunDuration }: Limits) =>
    Layer.effect(
      Steps,
      Effect.gen(function* () {
        const fetcher = yield* FetcherClient
        const maintainer = yield* MaintainerClient
        const records = yield* RunRecords
        const selection = yield* SnapshotSelection
        const retention = yield* Retention
        const notifier = yield* Notifier
        const waker = yield* MachineWaker

        const durableActivity = <S extends Schema.Top, R>(
          name: string,
          success: S,
          execute: Effect.Effect<S["Type"], SyncFailed, R>
        ) =>
          retryEnginePersistence(
            Activity.make({
              name,
              success,
              error: SyncFailed,
              execute: Effect.provideService(execute, MachineWaker, waker)
            })
          )

        const step = <S extends Schema.Top, R>(
          runId: RunId,
          name: string,
          success: S,
          execute: Effect.Effect<S["Type"], SyncFailed, R>
        ) => durableActivity(name, success, whileActive(records, runId, maxRunDuration, execute))

        const download = Effect.fnUntraced(function* (runId: RunId, reporter: ProgressReporter) {
          // Named after its run: a step that resumes asks for the same snapshot.
          const snapshotId = SnapshotId.make(runId)
          const { snapshot } = yield* follow(
            "fetcher",
            fetcher.run({ payload: { snapshotId } }),
            (event) =>
              event._tag === "Progress"
                ? reporter.update({
                    recordsFetched: event.records,
                    recordsTotal: event.total,
                    bytesFetched: event.bytes
                  })
                : Effect.void,
            false
          )
          return snapshot.complete
            ? snapshot
            : yield* failed(
                "EmptyCatalogue",
                "MediPim answered that nothing matches (204). An empty catalogue is never published."
              )
        })

        const fetch: Steps["Service"]["fetch"] = (runId, { mode, forceRefresh }, reporter) =>
          step(
            runId,
            "fetch",
            SnapshotSummary,
            Effect.gen(function* () {
              const isNew = forceRefresh === true || mode === "fetch-only"
              const fresh = isNew ? Option.none() : yield* selection.reusable
              return Option.isSome(fresh) ? fresh.value : yield* download(runId, reporter)
            })
          )

        const choose: Steps["Service"]["choose"] = (runId, { snapshotId }) =>
          step(runId, "choose", SnapshotSummary, selection.choose(snapshotId))

        const stageChunk = (
          { runId, snapshotId, round }: StagingJob,
          { offset, limit }: Chunk,
          reporter: ProgressReporter
        ) =>
          step(
            runId,
            `chunk/${offset}${roundSuffix(round)}`,
            ChunkCounts,
            follow(
              "maintainer",
              maintainer.run({ payload: { runId, snapshotId, offset, limit } }),
              (event) => (event._tag === "Progress" ? reporter.chunk(offset, event.counts, false) : Effect.void),
              true
            ).pipe(Effect.map(({ counts }) => counts))
          ).pipe(Effect.tap((counts) => reporter.chunk(offset, counts, true)))

        /** If the call failed but the publish committed, the committed result counts, also after a cancellation was requested. */
        const orPublished = (runId: RunId) => (error: SyncFailed) =>
          records.published(runId).pipe(
            // A permanent fault of the database: the error of the call is all that is known.
            Effect.orElseSucceed((): Option.Option<PublishResult> => Option.none()),
            Effect.flatMap(Effect.fromOption),
            Effect.mapError(() => error)
          )

        const publish: Steps["Service"]["publish"] = (
          { runId, snapshotId, round },
          { offset, limit, force, dryRun }
        ) => {
          const payload = {
            runId,
            snapshotId,
            ...(offset === undefined ? {} : { offset }),
            ...(limit === undefined ? {} : { limit }),
            ...(force === undefined ? {} : { force }),
            ...(dryRun === undefined ? {} : { dryRun })
          }
          const asked = call("maintainer", maintainer.publish({ payload }), longestPublish)
          return durableActivity(
            `publish${roundSuffix(round)}`,
            PublishResult,
            whileActive(records, runId, maxRunDuration, asked).pipe(Effect.catch(orPublished(runId)))
          )
        }

        const prune: Steps["Service"]["prune"] = (runId) =>
          retryEnginePersistence(
            Activity.make({
              name: "prune",
              // Neither needs the other: a store that may not be pruned must not let the tables grow.
              execute: Effect.gen(function* () {
                const removed = yield* selection.prune(runId)
                if (removed.length > 0) yield* Effect.logInfo("Old snapshots were removed", removed)
              }).pipe(
                Effect.ignoreCause({ log: "Warn" }),
                Effect.andThen(Effect.ignoreCause(retention.prune, { log: "Warn" }))
              )
            })
          )

        const notify: Steps["Service"]["notify"] = (runId, ending) =>
          retryEnginePersistence(
            Activity.make({
              name: "notify",
              success: Schema.NullOr(Schema.String),
              execute: Effect.gen(function* () {
                if (yield* retryDatabaseOutage(records.isNotified(runId))) return null
                const run = yield* Effect.map(retryDatabaseOutage(records.find(runId)), Option.getOrThrow)
                yield* notifier.send({ ...run, ...ending })
                // At least once: a duplicate notification is better than a lost one.
                yield* Effect.ignore(records.markNotified(runId), { log: "Warn" })
                return null
              }).pipe(Effect.catch(({ message }) => Effect.succeed(`Nobody was notified: ${message}`)))
            })
          )

        return Steps.of({
          fetch,
          choose,
          stage: (work, chunks, reporter) =>
            Effect.forEach(chunks, (chunk) => stageChunk(work, chunk, reporter), {
              concurrency: chunkConcurrency,
              discard: true
            }),
          publish,
          prune,
          notify
        })
      })
    )
}
