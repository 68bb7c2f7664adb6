import type { SnapshotId } from "@medipim/domain/Ids"
import { makeLineSplitter } from "@medipim/domain/LineSplitter"
import { byCreation, MediPim, type MediPimError } from "@medipim/domain/MediPim"
import {
  Manifest,
  manifestKey,
  type Part,
  partKey,
  prefixOf,
  type SourceRequest,
  sidecarKey
} from "@medipim/domain/Snapshot"
import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { makeStreamCheck, type StreamBroken } from "@medipim/domain/StreamCheck"
import { Clock, Context, DateTime, Effect, Layer, Metric, Option, Schedule, Schema, Stream } from "effect"
import { makePartWriter, type PartWriter, type WrittenPart } from "./PartWriter.ts"
import { Snapshots } from "./Snapshots.ts"

/** How far a download is. Bytes as the source sent them. */
export interface Progress {
  readonly records: number
  readonly total: number
  readonly bytes: number
  readonly parts: number
}

type OnProgress = (progress: Progress) => Effect.Effect<void>
export type DownloadError = StreamBroken | MediPimError | StoreError

/** A broken stream is begun anew this often. */
const newBeginnings = { times: 2, schedule: Schedule.exponential("2 seconds").pipe(Schedule.jittered) }
/** Parts on their way to the store at once; each is held in memory, 5 MB. */
const uploadsAtOnce = 2
const progressEveryMillis = 200

const records = Metric.counter("medipim_fetch_records", { description: "Records downloaded", incremental: true })
const bytes = Metric.counter("medipim_fetch_bytes", { description: "Bytes downloaded", incremental: true })
const breaks = Metric.counter("medipim_fetch_stream_broken", { description: "Broken downloads", incremental: true })

interface NumberedPart extends WrittenPart {
  readonly number: number
  readonly firstRecord: number
}

/** Cuts checked lines into parts. Fails as soon as the stream cannot be the whole catalogue any more. */
const makeCutter = () => {
  const splitter = makeLineSplitter()
  const check = makeStreamCheck()
  let writer: PartWriter = makePartWriter()
  let number = 0
  let firstRecord = 0
  let received = 0

  const cut = async (): Promise<NumberedPart> => {
    const written = await writer.close()
    const part = { ...written, number, firstRecord }
    number += 1
    firstRecord += written.records
    writer = makePartWriter()
    return part
  }

  const take = async (chunk: Uint8Array): Promise<ReadonlyArray<NumberedPart>> => {
    received += chunk.byteLength
    const lines = splitter.push(chunk)
    for (const line of lines) {
      const fault = check.accept(line)
      if (fault !== undefined) throw fault
    }
    if (splitter.overflow()) throw check.broken("line-too-long", "a line has no end")
    if (lines.length > 0) await writer.add(lines)
    return writer.isFull() ? [await cut()] : []
  }

  const finish = async (): Promise<ReadonlyArray<NumberedPart>> => {
    const fault = check.finish(splitter.rest())
    if (fault !== undefined) throw fault
    return writer.isEmpty() ? [] : [await cut()]
  }

  const progress = (): Progress => ({ records: check.received(), total: check.total(), bytes: received, parts: number })
  return { take, finish, progress, broken: check.broken }
}

const encodePart = (part: Part) => Buffer.from(JSON.stringify(part))
const encodeManifest = Schema.encodeEffect(Schema.fromJsonString(Manifest))
const end = Symbol("end of the stream")

/** Downloads snapshots: parts and their sidecars as the lines come, the manifest when all of them were there. */
export class Download extends Context.Service<
  Download,
  {
    /** Does nothing more when the snapshot is complete already. */
    readonly run: (id: SnapshotId, onProgress: OnProgress) => Effect.Effect<Manifest, DownloadError>
  }
>()("fetcher/Download") {
  static readonly layer = (filter: SourceRequest["filter"]) =>
    Layer.effect(
      Download,
      Effect.gen(function* () {
        const medipim = yield* MediPim
        const store = yield* SnapshotStore
        const snapshots = yield* Snapshots
        const request: SourceRequest = { filter, sorting: byCreation }
        const now = Effect.map(DateTime.now, DateTime.formatIso)

        const upload = Effect.fn("Download.upload")(function* (id: SnapshotId, written: NumberedPart) {
          const { stored, sha256, records, bytes, number, firstRecord } = written
          const part: Part = {
            key: partKey(id, number),
            firstRecord,
            records,
            firstIndex: firstRecord,
            lastIndex: firstRecord + records - 1,
            bytes,
            compressedBytes: stored.length,
            sha256,
            cursor: null
          }
          yield* store.put(part.key, stored, "application/gzip")
          yield* store.put(sidecarKey(id, number), encodePart(part), "application/json")
          return part
        })

        const partsOf = (id: SnapshotId, stream: Stream.Stream<Uint8Array, StreamBroken>, onProgress: OnProgress) =>
          Effect.gen(function* () {
            const cutter = makeCutter()
            let toldAt = 0
            const tell = Effect.flatMap(Clock.currentTimeMillis, (now) => {
              if (now - toldAt < progressEveryMillis) return Effect.void
              toldAt = now
              return onProgress(cutter.progress())
            })
            const cut = (chunk: Uint8Array | typeof end) =>
              Effect.tryPromise({
                try: () => (chunk === end ? cutter.finish() : cutter.take(chunk)),
                catch: (error) => error as StreamBroken
              }).pipe(Effect.tap(tell))
            const parts = yield* stream.pipe(
              // Told by the connection, counted here.
              Stream.mapError(({ fault, detail }) => cutter.broken(fault, detail)),
              Stream.concat(Stream.make(end)),
              Stream.mapEffect(cut),
              Stream.flattenIterable,
              Stream.mapEffect((part) => upload(id, part), { concurrency: uploadsAtOnce }),
              Stream.runCollect
            )
            const done = cutter.progress()
            yield* onProgress(done)
            yield* Metric.update(records, done.records)
            yield* Metric.update(bytes, done.bytes)
            return parts
          })

        const attempt = Effect.fn("Download.attempt")(function* (id: SnapshotId, onProgress: OnProgress) {
          const startedAt = yield* now
          const opened = yield* medipim.open(request)
          const parts = Option.isSome(opened) ? yield* partsOf(id, opened.value, onProgress) : []
          const sum = (of: (part: Part) => number) => parts.reduce((total, part) => total + of(part), 0)
          const records = sum((part) => part.records)
          const manifest: Manifest = {
            version: 1,
            snapshotId: id,
            startedAt,
            finishedAt: yield* now,
            request,
            total: records,
            records,
            bytes: sum((part) => part.bytes),
            compressedBytes: sum((part) => part.compressedBytes),
            complete: Option.isSome(opened),
            parts,
            segments: Option.isSome(opened) ? [{ startedAt, firstRecord: 0, records, from: null }] : []
          }
          const text = yield* Effect.orDie(encodeManifest(manifest))
          yield* store.put(manifestKey(id), Buffer.from(text), "application/json")
          return manifest
        })

        /** Objects without a manifest are of no use to anybody. */
        const sweep = Effect.fn("Download.sweep")(function* (id: SnapshotId) {
          const left = yield* store.list(prefixOf(id))
          yield* store.remove(left.map(({ key }) => key))
        })

        /** Housekeeping never spoils a download. */
        const prune = snapshots.prune.pipe(
          Effect.tap((gone) => (gone.length === 0 ? Effect.void : Effect.logInfo("Old snapshots were removed", gone))),
          Effect.ignore({ log: "Warn" })
        )

        const run = Effect.fn("Download.run")(function* (id: SnapshotId, onProgress: OnProgress) {
          const complete = yield* snapshots.find(id)
          if (Option.isSome(complete)) return complete.value
          return yield* attempt(id, onProgress).pipe(
            Effect.onError(() => sweep(id).pipe(Effect.timeout("10 seconds"), Effect.ignore({ log: "Warn" }))),
            Effect.tapError((error) =>
              error._tag === "StreamBroken"
                ? Effect.andThen(Effect.logWarning(error.message), Metric.update(breaks, 1))
                : Effect.void
            ),
            Effect.retry({ ...newBeginnings, while: (error) => error._tag === "StreamBroken" }),
            Effect.tap(() => prune)
          )
        })

        return Download.of({ run })
      })
    )
}
