import type { RunId } from "@medipim/domain/Ids"
import { Busy } from "@medipim/http-api/Failure"
import { type ChunkCounts, nothingYet, type StageRequest } from "@medipim/http-api/MaintainerApi"
import { Context, Effect, Layer, Semaphore } from "effect"

interface RunningChunk {
  readonly runId: RunId
  readonly offset: number
  readonly counts: ChunkCounts
}

/** Chunks staged at once, of all callers; the others wait. Each holds one compressed part in memory. */
const chunksAtOnce = 3

/** What this process is working on, for `GET /status` and to keep one chunk from being staged twice at once. */
export class Jobs extends Context.Service<
  Jobs,
  {
    readonly chunks: () => ReadonlyArray<RunningChunk>
    readonly publishing: () => RunId | null
    readonly assertFree: (request: StageRequest) => Effect.Effect<void, Busy>
    /** Runs the staging of a chunk, waiting for its turn; `report` keeps its counts. Fails while the chunk is being staged. */
    readonly staging: <A, E, R>(
      request: StageRequest,
      work: (report: (counts: ChunkCounts) => Effect.Effect<void>) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | Busy, R>
    readonly publish: <A, E, R>(runId: RunId, work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>()("maintainer/Jobs") {
  static readonly layer = Layer.effect(
    Jobs,
    Effect.gen(function* () {
      const turns = yield* Semaphore.make(chunksAtOnce)
      const running = new Map<string, RunningChunk>()
      let publishing: RunId | null = null
      const keyOf = ({ runId, offset }: StageRequest) => `${runId}/${offset}`

      const assertFree = (request: StageRequest) =>
        Effect.suspend(() =>
          running.has(keyOf(request))
            ? Effect.fail(
                new Busy({
                  message: `The chunk at ${request.offset} of run ${request.runId} is being staged.`,
                  job: keyOf(request)
                })
              )
            : Effect.void
        )

      return Jobs.of({
        chunks: () => [...running.values()],
        publishing: () => publishing,
        assertFree,
        staging: (request, work) => {
          const note = (counts: ChunkCounts) =>
            Effect.sync(() => {
              running.set(keyOf(request), { runId: request.runId, offset: request.offset, counts })
            })
          return Effect.acquireUseRelease(
            Effect.andThen(assertFree(request), note(nothingYet)),
            () => turns.withPermit(work(note)),
            () => Effect.sync(() => running.delete(keyOf(request)))
          )
        },
        publish: (runId, work) =>
          Effect.suspend(() => {
            publishing = runId
            return work
          }).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                publishing = null
              })
            )
          )
      })
    })
  )
}
