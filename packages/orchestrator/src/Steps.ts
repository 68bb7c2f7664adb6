import type { Chunk } from "@medipim/domain/ChunkPlan"
import { type RunId, SnapshotId } from "@medipim/domain/Ids"
import { SnapshotSummary } from "@medipim/domain/Snapshot"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import { ChunkCounts, PublishResult } from "@medipim/http-api/MaintainerApi"
import { Clock, Context, Effect, Layer, Schedule, type Schema } from "effect"
import { Activity, type WorkflowEngine } from "effect/workflow"
import type { Journal } from "./Journal.ts"
import { RunRecords } from "./RunRecords.ts"
import { call, follow, SyncFailed } from "./ServiceCalls.ts"

type InWorkflow = WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance
type Step<A> = Effect.Effect<A, SyncFailed, InWorkflow>

/** A snapshot that no run has published yet is used again while it is younger than this. */
const freshMillis = 60 * 60 * 1000

const failed = (code: string, message: string) => Effect.fail(new SyncFailed({ code, message, retryable: false }))

/** The steps of a run. Each is done once, and its result kept: a run that is taken up again skips it. */
export class Steps extends Context.Service<
  Steps,
  {
    /** Downloads a snapshot, or finds a fresh one. */
    readonly fetch: (runId: RunId, options: SyncOptions, journal: Journal) => Step<SnapshotSummary>
    /** Finds the snapshot to maintain: the named one, or the newest. */
    readonly choose: (runId: RunId, options: SyncOptions) => Step<SnapshotSummary>
    readonly stage: (runId: RunId, snapshotId: SnapshotId, chunks: ReadonlyArray<Chunk>, journal: Journal) => Step<void>
    readonly publish: (runId: RunId, snapshotId: SnapshotId, options: SyncOptions) => Step<PublishResult>
  }
>()("orchestrator/Steps") {
  static readonly layer = (chunkConcurrency: number) =>
    Layer.effect(
      Steps,
      Effect.gen(function* () {
        const fetcher = yield* FetcherClient
        const maintainer = yield* MaintainerClient
        const records = yield* RunRecords

        /** The record decides: when it says that the run is over, whatever goes on for it stops. */
        const stopped = (runId: RunId) =>
          records.isRunning(runId).pipe(
            // While the database does not answer, the work that needs it will notice.
            Effect.orElseSucceed(() => true),
            Effect.repeat({ schedule: Schedule.spaced("1 second"), while: (running) => running }),
            Effect.andThen(failed("Cancelled", "The run was cancelled."))
          )

        const step = <S extends Schema.Top, R>(
          runId: RunId,
          name: string,
          success: S,
          execute: Effect.Effect<S["Type"], SyncFailed, R>
        ) => Activity.make({ name, success, error: SyncFailed, execute: Effect.raceFirst(execute, stopped(runId)) })

        const snapshots = call("fetcher", fetcher.snapshots()).pipe(Effect.map(({ snapshots }) => snapshots))

        const reusable = Effect.fnUntraced(function* () {
          const [newest] = yield* snapshots
          if (newest === undefined || !newest.complete) return undefined
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

        const stageChunk = (runId: RunId, snapshotId: SnapshotId, { offset, limit }: Chunk, journal: Journal) =>
          step(
            runId,
            `chunk/${offset}`,
            ChunkCounts,
            follow(
              "maintainer",
              maintainer.run({ payload: { runId, snapshotId, offset, limit } }),
              (event) => (event._tag === "Progress" ? journal.chunk(offset, event.counts, false) : Effect.void),
              true
            ).pipe(Effect.map(({ counts }) => counts))
          ).pipe(Effect.tap((counts) => journal.chunk(offset, counts, true)))

        const publish: Steps["Service"]["publish"] = (runId, snapshotId, { offset, limit, force, dryRun }) =>
          step(
            runId,
            "publish",
            PublishResult,
            call(
              "maintainer",
              maintainer.publish({
                payload: {
                  runId,
                  snapshotId,
                  ...(offset === undefined ? {} : { offset }),
                  ...(limit === undefined ? {} : { limit }),
                  ...(force === undefined ? {} : { force }),
                  ...(dryRun === undefined ? {} : { dryRun })
                }
              })
            )
          )

        return Steps.of({
          fetch,
          choose,
          stage: (runId, snapshotId, chunks, journal) =>
            Effect.forEach(chunks, (chunk) => stageChunk(runId, snapshotId, chunk, journal), {
              concurrency: chunkConcurrency,
              discard: true
            }),
          publish
        })
      })
    )
}
