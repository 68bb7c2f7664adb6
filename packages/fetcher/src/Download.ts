import type { SnapshotId } from "@medipim/domain/Ids"
import { byCreation, MediPim, type MediPimError, sinceCreation } from "@medipim/domain/MediPim"
import { type Asked, Manifest, manifestKey, type Sidecar } from "@medipim/domain/Snapshot"
import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { StreamBroken } from "@medipim/domain/StreamCheck"
import { elapsedMillis } from "@medipim/platform/process/Stopwatch"
import { Context, DateTime, Duration, Effect, Layer, Metric, Option, Schedule, Schema, Stream } from "effect"
import { type Checkpoint, Checkpoints, partOf } from "./Checkpoints.ts"
import { type CutterOptions, isResumable, makePartCutter, type Progress } from "./PartCutter.ts"
import { usualPartBytes } from "./PartWriter.ts"
import { type LeastRate, withLeastRate } from "./RecordRate.ts"
import { Snapshots } from "./Snapshots.ts"

type OnProgress = (progress: Progress) => Effect.Effect<void>
export type DownloadError = StreamBroken | MediPimError | StoreError

const isStreamBroken = Schema.is(StreamBroken)
const isBroken = (error: DownloadError): error is StreamBroken => error._tag === "StreamBroken"

/** The source does not take the request as it is written. */
const isOfTheRequest = ({ _tag, status }: { readonly _tag: string; readonly status?: number }) =>
  _tag === "MediPimError" && (status === 400 || status === 422)

const isSlow = (error: DownloadError): boolean => isBroken(error) && error.fault === "too-slow"

/** Resume a broken download up to 10 times: an outage of some minutes... */
const resumePolicy = {
  while: (error: DownloadError) => isBroken(error) && isResumable(error) && !isSlow(error),
  schedule: Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")]).pipe(Schedule.jittered),
  times: 10
}
/** ... and once when the source is too slow: it has a whole window each time. */
const slowResumePolicy = { while: isSlow, schedule: Schedule.spaced("1 second"), times: 1 }
/** Restart from scratch up to twice when the stream cannot be the whole catalogue. */
const restartPolicy = {
  while: (error: DownloadError) => isBroken(error) && !isResumable(error),
  schedule: Schedule.exponential("2 seconds").pipe(Schedule.jittered),
  times: 2
}
/** Parts uploaded concurrently; each is held in memory, 5 MB. */
const uploadsAtOnce = 2
const progressEveryMillis = 200

const records = Metric.counter("medipim_fetch_records", { description: "Records downloaded", incremental: true })
const bytes = Metric.counter("medipim_fetch_bytes", { description: "Bytes downloaded", incremental: true })
const breaks = Metric.counter("medipim_fetch_stream_broken", { description: "Broken downloads", incremental: true })

/** An address without what may be secret in it. */
const placeOf = (url: string): string => {
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

const encodeManifest = Schema.encodeEffect(Schema.fromJsonString(Manifest))
const end = Symbol("end of the stream")

/** The manifest of these parts, or of an empty answer. */
const manifestOf = (
  id: SnapshotId,
  request: Asked,
  before: Checkpoint,
  added: ReadonlyArray<Sidecar>,
  times: Pick<Manifest, "startedAt" | "finishedAt">
): Manifest => {
  const parts = [...before.parts, ...added.map(partOf)]
  const sum = (of: (part: (typeof parts)[number]) => number) => parts.reduce((total, part) => total + of(part), 0)
  const total = sum((part) => part.records)
  return {
    version: 1,
    snapshotId: id,
    startedAt: before.segments[0]?.startedAt ?? times.startedAt,
    finishedAt: times.finishedAt,
    request,
    total,
    records: total,
    bytes: sum((part) => part.bytes),
    compressedBytes: sum((part) => part.compressedBytes),
    complete: parts.length > 0,
    parts,
    segments: added.at(-1)?.segments ?? before.segments
  }
}

/** What is asked, and from which address; how large a part may be, and how slow the source. */
interface Setting extends Pick<Asked, "filter" | "url">, Partial<LeastRate> {
  readonly partBytes?: number
}

/** What the cutter throws, as a failure; anything else is a defect: no source and no store brings it about. */
const orBroken = <A>(cut: () => Promise<A>): Effect.Effect<A, StreamBroken> =>
  Effect.promise(cut).pipe(
    Effect.catchDefect((thrown) => (isStreamBroken(thrown) ? Effect.fail(thrown) : Effect.die(thrown)))
  )

/** Downloads snapshots: parts and their sidecars as the lines come, the manifest when all of them were there. */
export class Download extends Context.Service<
  Download,
  {
    /** What a download asks, as the fetcher is set today. */
    readonly asked: Asked
    /**
     * Goes on where an earlier call was stopped or killed, and does nothing more when the snapshot is complete. A
     * failure leaves the parts: the next call resumes after them, and `POST /snapshots/prune` removes what is not kept.
     */
    readonly run: (id: SnapshotId, onProgress: OnProgress) => Effect.Effect<Manifest, DownloadError>
  }
>()("fetcher/Download") {
  static readonly layer = ({
    filter,
    url,
    partBytes = usualPartBytes,
    minRecordRate = 0,
    recordRateWindow = Duration.minutes(2)
  }: Setting) =>
    Layer.effect(
      Download,
      Effect.gen(function* () {
        const medipim = yield* MediPim
        const store = yield* SnapshotStore
        const snapshots = yield* Snapshots
        const checkpoints = yield* Checkpoints
        const asked: Asked = { ...(url === undefined ? {} : { url: placeOf(url) }), filter, sorting: byCreation }
        const now = Effect.map(DateTime.now, DateTime.formatIso)

        /** Stores what one stream brings; when it breaks, what it brought until then. */
        const partsOf = Effect.fnUntraced(function* (
          cutting: CutterOptions,
          stream: Stream.Stream<Uint8Array, StreamBroken>,
          onProgress: OnProgress
        ) {
          const cutter = makePartCutter(cutting)
          let toldAt = Number.NEGATIVE_INFINITY
          const report = Effect.flatMap(elapsedMillis, (now) => {
            if (now - toldAt < progressEveryMillis) return Effect.void
            toldAt = now
            return onProgress(cutter.progress())
          })
          const cut = (chunk: Uint8Array | typeof end) =>
            Effect.tap(
              orBroken(() => (chunk === end ? cutter.finish() : cutter.take(chunk))),
              report
            )
          let uploads = 0
          const uploading = <A, E>(save: Effect.Effect<A, E>) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                uploads += 1
              }),
              () => save,
              () =>
                Effect.sync(() => {
                  uploads -= 1
                })
            )
          let broke: StreamBroken | undefined
          // An element and no failure, which would interrupt uploads in flight.
          const keep = (error: StreamBroken) => {
            broke = error
            return Stream.fromIterableEffect(isResumable(error) ? Effect.promise(cutter.flush) : Effect.succeed([]))
          }
          const sidecars = yield* stream.pipe(
            withLeastRate(
              { minRecordRate, recordRateWindow },
              () => cutter.progress().records,
              () => uploads === uploadsAtOnce
            ),
            // Told by the connection, counted here.
            Stream.mapError(({ fault, detail }) => cutter.broken(fault, detail)),
            Stream.concat(Stream.make(end)),
            Stream.mapEffect(cut),
            Stream.flattenIterable,
            Stream.catch(keep),
            Stream.zipWithIndex,
            Stream.mapEffect(
              ([part, place]) =>
                uploading(checkpoints.save(cutting.snapshotId, cutting.before.parts.length + place, part)),
              { concurrency: uploadsAtOnce }
            ),
            Stream.runCollect
          )
          const { records: done, bytes: received } = cutter.progress()
          yield* onProgress(cutter.progress())
          yield* Metric.update(records, done - cutting.before.records)
          yield* Metric.update(bytes, received - cutting.before.bytes)
          return broke === undefined ? sidecars : yield* broke
        })

        const attempt = Effect.fn("Download.attempt")(function* (id: SnapshotId, onProgress: OnProgress) {
          const before = yield* checkpoints.load(id, asked)
          const { cursor } = before
          if (cursor !== null) yield* Effect.logInfo(`The download resumes after ${before.records} records`)
          const startedAt = yield* now
          const cannotResume = (detail: string) =>
            new StreamBroken({ fault: "total", received: before.records, expected: before.total, detail })
          const opened =
            cursor === null
              ? yield* medipim.open(asked)
              : yield* medipim
                  .open(sinceCreation(asked, cursor.createdAt))
                  .pipe(
                    Effect.catchIf(isOfTheRequest, ({ message }) =>
                      Effect.fail(cannotResume(`the request for the rest was refused. ${message}`))
                    )
                  )
          if (Option.isNone(opened) && cursor !== null) return yield* cannotResume("the rest of the catalogue is gone")
          const cutting = { snapshotId: id, request: asked, before, startedAt, partBytes }
          const added = Option.isSome(opened) ? yield* partsOf(cutting, opened.value, onProgress) : []
          const manifest = manifestOf(id, asked, before, added, { startedAt, finishedAt: yield* now })
          const text = yield* Effect.orDie(encodeManifest(manifest))
          yield* store.put(manifestKey(id), Buffer.from(text), "application/json")
          return manifest
        })

        const logBreak = (error: StreamBroken) =>
          Effect.andThen(Effect.logWarning(error.message), Metric.update(breaks, 1))

        const run = Effect.fn("Download.run")(function* (id: SnapshotId, onProgress: OnProgress) {
          const complete = yield* snapshots.find(id)
          if (Option.isSome(complete)) return complete.value
          return yield* attempt(id, onProgress).pipe(
            Effect.tapErrorTag("StreamBroken", logBreak),
            Effect.retry(resumePolicy),
            Effect.retry(slowResumePolicy),
            Effect.tapError((error) =>
              isBroken(error) && !isResumable(error)
                ? Effect.ignore(checkpoints.clear(id), { log: "Warn" })
                : Effect.void
            ),
            Effect.retry(restartPolicy)
          )
        })

        return Download.of({ asked, run })
      })
    )
}
