import type { SnapshotId } from "@medipim/domain/Ids"
import { Busy } from "@medipim/http-api/Failure"
import { Context, Effect, Layer } from "effect"
import type { Progress } from "./PartCutter.ts"

interface Running {
  readonly snapshotId: SnapshotId
  readonly progress: Progress
}

const nothingYet: Progress = { records: 0, total: 0, bytes: 0, parts: 0 }

/** The one download of this process. */
export class Job extends Context.Service<
  Job,
  {
    readonly current: () => Running | undefined
    readonly assertFree: Effect.Effect<void, Busy>
    readonly run: <A, E, R>(
      snapshotId: SnapshotId,
      work: (note: (progress: Progress) => Effect.Effect<void>) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | Busy, R>
  }
>()("fetcher/Job") {
  static readonly layer = Layer.sync(Job, () => {
    let running: Running | undefined
    const assertFree = Effect.suspend(() =>
      running === undefined
        ? Effect.void
        : Effect.fail(
            new Busy({ message: `Snapshot ${running.snapshotId} is being downloaded.`, job: running.snapshotId })
          )
    )
    return Job.of({
      current: () => running,
      assertFree,
      run: (snapshotId, work) =>
        Effect.acquireUseRelease(
          Effect.tap(assertFree, () =>
            Effect.sync(() => {
              running = { snapshotId, progress: nothingYet }
            })
          ),
          () =>
            work((progress) =>
              Effect.sync(() => {
                running = { snapshotId, progress }
              })
            ),
          () =>
            Effect.sync(() => {
              running = undefined
            })
        )
    })
  })
}
