import { isDeepStrictEqual } from "node:util"
import { SnapshotId, timedIdOf } from "@medipim/domain/Ids"
import { type Manifest, summaryOf } from "@medipim/domain/Snapshot"
import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { type Busy, Unavailable } from "@medipim/http-api/Failure"
import { FetcherApi } from "@medipim/http-api/FetcherApi"
import { jobEvents } from "@medipim/platform/http/JobEvents"
import { makeReadyz } from "@medipim/platform/http/Readiness"
import { currentWaits } from "@medipim/platform/process/Outage"
import { Clock, Effect, Layer, Random } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Download, type DownloadError } from "./Download.ts"
import { Job } from "./Job.ts"
import type { Progress } from "./PartCutter.ts"
import { Snapshots } from "./Snapshots.ts"

const systemLayer = HttpApiBuilder.group(
  FetcherApi,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const store = yield* SnapshotStore
    const readyz = yield* makeReadyz([{ name: "snapshot store", check: store.check }])
    return handlers.handleAll({
      healthz: () => Effect.succeed({ status: "ok" } as const),
      // MediPim is not asked: it allows 100 requests a minute, and each counts.
      readyz: () => readyz
    })
  })
)

const newId = Effect.gen(function* () {
  return SnapshotId.make(timedIdOf(yield* Clock.currentTimeMillis, yield* Random.nextIntBetween(0, 0xffffffff)))
})

const retryable = (error: DownloadError | Busy): boolean =>
  error._tag === "StreamBroken" || error._tag === "Busy" || error.retryable

const unavailable = ({ _tag, message, retryable }: StoreError) => new Unavailable({ message, retryable, code: _tag })

const progressEvent = (snapshotId: SnapshotId, progress: Progress) =>
  ({ _tag: "Progress", snapshotId, ...progress }) as const

const fetcherLayer = HttpApiBuilder.group(
  FetcherApi,
  "fetcher",
  Effect.fnUntraced(function* (handlers) {
    const download = yield* Download
    const snapshots = yield* Snapshots
    const job = yield* Job
    const startedAt = yield* Clock.currentTimeMillis
    const listed = (manifest: Manifest) => ({
      ...summaryOf(manifest),
      current: isDeepStrictEqual(manifest.request, download.asked)
    })
    return handlers.handleAll({
      status: () =>
        Effect.gen(function* () {
          const running = job.current()
          const now = yield* Clock.currentTimeMillis
          return {
            isRunning: running !== undefined,
            progress: running === undefined ? null : progressEvent(running.snapshotId, running.progress),
            waitingFor: yield* currentWaits,
            uptimeSeconds: Math.max(0, Math.floor((now - startedAt) / 1000))
          }
        }),
      run: Effect.fnUntraced(function* ({ payload }) {
        const snapshotId = payload?.snapshotId ?? (yield* newId)
        yield* job.assertFree
        return jobEvents(
          (emit) =>
            job
              .run(snapshotId, (note) =>
                download.run(snapshotId, (progress) =>
                  Effect.andThen(note(progress), emit(progressEvent(snapshotId, progress)))
                )
              )
              .pipe(
                Effect.map(summaryOf),
                Effect.tap(({ records, bytes }) =>
                  Effect.logInfo(`The snapshot is complete: ${records} records, ${bytes} bytes`)
                ),
                Effect.map((snapshot) => ({ _tag: "Completed", snapshot }) as const)
              ),
          retryable,
          { snapshotId }
        )
      }),
      snapshots: () =>
        snapshots.list.pipe(
          Effect.map((list) => ({ snapshots: list.map(listed) })),
          Effect.mapError(unavailable)
        ),
      prune: ({ payload }) => {
        const running = job.current()
        const keep = running === undefined ? payload.keep : [...payload.keep, running.snapshotId]
        return snapshots.prune(new Set(keep)).pipe(
          Effect.map((removed) => ({ removed })),
          Effect.mapError(unavailable)
        )
      }
    })
  })
)

/** The routes of the fetcher. */
export const layer = Layer.merge(systemLayer, fetcherLayer)
