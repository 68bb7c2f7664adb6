import type { Chunk } from "@medipim/domain/ChunkPlan"
import { type RunId, SnapshotId } from "@medipim/domain/Ids"
import { SnapshotSummary } from "@medipim/domain/Snapshot"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import { ChunkCounts, PublishResult } from "@medipim/http-api/MaintainerApi"
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Activity, type WorkflowEngine } from "effect/workflow"
import { unlessCancelled } from "./Cancellation.ts"
import type { Journal } from "./Journal.ts"
import { noted } from "./Noted.ts"
import { Notifier } from "./Notifier.ts"
import { type Ending, RunRecords } from "./RunRecords.ts"
import { call, follow, SyncFailed } from "./ServiceCalls.ts"
import { Wake } from "./Wake.ts"

type InWorkflow = WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance
type Step<A> = Effect.Effect<A, SyncFailed, InWorkflow>

/** Ten times what the largest catalogue that was measured takes; asking again is safe. */
const longestPublish = "15 minutes"
/** A snapshot that no run has published yet is used again while it is younger than this. */
const freshMillis = 60 * 60 * 1000

/** What is staged and published. In a second round the same chunks are staged anew. */
export interface Work {
  readonly runId: RunId
  readonly snapshotId: SnapshotId
  readonly round: 1 | 2
}

const again = (round: Work["round"]): string => (round === 1 ? "" : "/again")

const failed = (code: string, message: string) => Effect.fail(new SyncFailed({ code, message, retryable: false }))

/** The steps of a run. Each is done once, and its result kept: a run that is taken up again skips it. */
export class Steps extends Context.Service<
  Steps,
  {
    /** Downloads a snapshot, or finds a fresh one. */
    readonly fetch: (runId: RunId, options: SyncOptions, journal: Journal) => Step<SnapshotSummary>
    /** Finds the snapshot to maintain: the named one, or the newest. */
    readonly choose: (runId: RunId, options: SyncOptions) => Step<SnapshotSummary>
    readonly stage: (work: Work, chunks: ReadonlyArray<Chunk>, journal: Journal) => Step<void>
    readonly publish: (work: Work, options: SyncOptions) => Step<PublishResult>
    /** Tells how the run ends; what went wrong with that, if anything, never fails the run. */
    readonly notify: (runId: RunId, ending: Ending) => Effect.Effect<string | null, never, InWorkflow>
  }
>()("orchestrator/Steps") {
  static readonly layer = (chunkConcurrency: number) =>
    Layer.effect(
      Steps,
      Effect.gen(function* () {
        const fetcher = yield* FetcherClient
        const maintainer = yield* MaintainerClient
        const records = yield* RunRecords
        const notifier = yield* Notifier
        const wake = yield* Wake

        const kept = <S extends Schema.Top, R>(
          name: string,
          success: S,
          execute: Effect.Effect<S["Type"], SyncFailed, R>
        ) =>
          noted(
            Activity.make({ name, success, error: SyncFailed, execute: Effect.provideService(execute, Wake, wake) })
          )

        const step = <S extends Schema.Top, R>(
          runId: RunId,
          name: string,
          success: S,
          execute: Effect.Effect<S["Type"], SyncFailed, R>
        ) => kept(name, success, unlessCancelled(records, runId, execute))

        const snapshots = call("fetcher", fetcher.snapshots()).pipe(Effect.map(({ snapshots }) => snapshots))

        const reusable = Effect.fnUntraced(function* () {
          // What cannot be listed cannot be used again; it does not keep a new one from being made.
          const [newest] = yield* snapshots.pipe(Effect.orElseSucceed(() => []))
          // One that was asked for with other settings is of another catalogue.
          if (newest === undefined || !newest.complete || newest.current !== true) return undefined
          const age = (yield* Clock.currentTimeMillis) - Date.parse(newest.finishedAt)
          if (age > freshMillis) return undefined
          const used = yield* records.isUsed(newest.snapshotId).pipe(Effect.orElseSucceed(() => true))
          return used ? undefined : newest
        })

        const download = Effect.fnUntraced(function* (runId: RunId, journal: Journal) {
          // Named after its run: a step that is taken up again asks for the same snapshot.
          const snapshotId = SnapshotId.make(runId)
          const { snapshot } = yield* follow(
            "fetcher",
            fetcher.run({ payload: { snapshotId } }),
            (event) =>
              event._tag === "Progress"
                ? journal.update({
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

        const fetch: Steps["Service"]["fetch"] = (runId, { mode, forceRefresh }, journal) =>
          step(
            runId,
            "fetch",
            SnapshotSummary,
            Effect.gen(function* () {
              const fresh = forceRefresh === true || mode === "fetch-only" ? undefined : yield* reusable()
              return fresh ?? (yield* download(runId, journal))
            })
          )

        const choose: Steps["Service"]["choose"] = (runId, { snapshotId }) =>
          step(
            runId,
            "choose",
            SnapshotSummary,
            Effect.gen(function* () {
              const all = yield* snapshots
              const found = all.find((one) => (snapshotId === undefined ? one.complete : one.snapshotId === snapshotId))
              return (
                found ??
                (yield* failed(
                  "SnapshotNotFound",
                  snapshotId === undefined
                    ? "There is no snapshot to maintain: run a full or a fetch-only sync first."
                    : `There is no snapshot ${snapshotId}. The fetcher lists them: GET /snapshots.`
                ))
              )
            })
          )

        const stageChunk = ({ runId, snapshotId, round }: Work, { offset, limit }: Chunk, journal: Journal) =>
          step(
            runId,
            `chunk/${offset}${again(round)}`,
            ChunkCounts,
            follow(
              "maintainer",
              maintainer.run({ payload: { runId, snapshotId, offset, limit } }),
              (event) => (event._tag === "Progress" ? journal.chunk(offset, event.counts, false) : Effect.void),
              true
            ).pipe(Effect.map(({ counts }) => counts))
          ).pipe(Effect.tap((counts) => journal.chunk(offset, counts, true)))

        /** Whatever became of the answer, what is published is published: also when it was to be cancelled meanwhile. */
        const orPublished = (runId: RunId) => (error: SyncFailed) =>
          records.published(runId).pipe(
            // Only a fault of the database that stays ends the question: then the error is all that is known.
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
          return kept(
            `publish${again(round)}`,
            PublishResult,
            unlessCancelled(records, runId, asked).pipe(Effect.catch(orPublished(runId)))
          )
        }

        const notify: Steps["Service"]["notify"] = (runId, ending) =>
          noted(
            Activity.make({
              name: "notify",
              success: Schema.NullOr(Schema.String),
              execute: Effect.gen(function* () {
                if (yield* records.isNotified(runId)) return null
                const run = yield* Effect.map(records.find(runId), Option.getOrThrow)
                yield* notifier.send({ ...run, ...ending })
                // Told twice is better than taken for untold.
                yield* Effect.ignore(records.markNotified(runId), { log: "Warn" })
                return null
              }).pipe(Effect.catch(({ message }) => Effect.succeed(`Nobody was notified: ${message}`)))
            })
          )

        return Steps.of({
          fetch,
          choose,
          stage: (work, chunks, journal) =>
            Effect.forEach(chunks, (chunk) => stageChunk(work, chunk, journal), {
              concurrency: chunkConcurrency,
              discard: true
            }),
          publish,
          notify
        })
      })
    )
}
