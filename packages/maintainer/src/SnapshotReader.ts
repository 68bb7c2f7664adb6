import { createHash } from "node:crypto"
import { promisify } from "node:util"
import { gunzip } from "node:zlib"
import { type Chunk, partsOf } from "@medipim/domain/ChunkPlan"
import type { SnapshotId } from "@medipim/domain/Ids"
import { makeLineSplitter } from "@medipim/domain/LineSplitter"
import { Manifest, manifestKey, type Part } from "@medipim/domain/Snapshot"
import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { Context, Effect, Layer, Schedule, Schema, Stream } from "effect"

/** What is stored is not what was written, or is not there. */
export class SnapshotBroken extends Schema.TaggedError<SnapshotBroken>()("SnapshotBroken", {
  key: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `Snapshot object ${this.key} is broken: ${this.detail}. Sync again with forceRefresh.`
  }
}

/** A line of a snapshot: `record` is its place in the snapshot, `lineIndex` its place in the part. */
export interface StoredLine {
  readonly record: number
  readonly part: string
  readonly lineIndex: number
  readonly bytes: Buffer
}

const inflate = promisify(gunzip)
const decodeManifest = Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))
/** A read that breaks half-way begins again. */
const persistence = { schedule: Schedule.exponential("250 millis").pipe(Schedule.jittered), times: 4 }

const linesOf = (part: Part, raw: Buffer): Effect.Effect<ReadonlyArray<Buffer>, SnapshotBroken> => {
  const splitter = makeLineSplitter()
  const lines = splitter.push(raw).filter((line) => line.length > 0)
  return lines.length === part.records && splitter.rest().length === 0
    ? Effect.succeed(lines)
    : Effect.fail(
        new SnapshotBroken({ key: part.key, detail: `${lines.length} lines where ${part.records} were written` })
      )
}

/** Reads snapshots, checking every part against its manifest: size, hash and number of lines. */
export class SnapshotReader extends Context.Service<
  SnapshotReader,
  {
    readonly manifest: (id: SnapshotId) => Effect.Effect<Manifest, StoreError | SnapshotBroken>
    /** The lines of a chunk, a part at a time; parts without a record of the chunk are not read. */
    readonly lines: (
      manifest: Manifest,
      chunk: Chunk
    ) => Stream.Stream<ReadonlyArray<StoredLine>, StoreError | SnapshotBroken>
  }
>()("maintainer/SnapshotReader") {
  static readonly layer = Layer.effect(
    SnapshotReader,
    Effect.gen(function* () {
      const store = yield* SnapshotStore

      const object = (key: string) =>
        store.get(key).pipe(
          Stream.runCollect,
          Effect.map((pieces) => Buffer.concat(pieces)),
          Effect.retry({ while: (error) => error.retryable, ...persistence })
        )

      const manifest = Effect.fn("SnapshotReader.manifest")(function* (id: SnapshotId) {
        const key = manifestKey(id)
        const text = (yield* object(key)).toString("utf8")
        return yield* decodeManifest(text).pipe(
          Effect.mapError((error) => new SnapshotBroken({ key, detail: error.message }))
        )
      })

      const part = Effect.fn("SnapshotReader.part")(function* (part: Part) {
        const stored = yield* object(part.key)
        if (createHash("sha256").update(stored).digest("hex") !== part.sha256) {
          return yield* new SnapshotBroken({ key: part.key, detail: "its SHA-256 is not the one of its manifest" })
        }
        const raw = yield* Effect.tryPromise({
          try: () => inflate(stored, { maxOutputLength: Math.max(part.bytes, 1) }),
          catch: (error) => new SnapshotBroken({ key: part.key, detail: (error as Error).message })
        })
        return yield* linesOf(part, raw)
      })

      const linesInChunk = (of: Part, chunk: Chunk) =>
        Effect.map(part(of), (lines) =>
          lines
            .map((bytes, lineIndex) => ({ record: of.firstRecord + lineIndex, part: of.key, lineIndex, bytes }))
            .filter(({ record }) => record >= chunk.offset && record < chunk.offset + chunk.limit)
        )

      return SnapshotReader.of({
        manifest,
        lines: (manifest, chunk) =>
          Stream.fromIterable(partsOf(manifest.parts, chunk)).pipe(Stream.mapEffect((of) => linesInChunk(of, chunk)))
      })
    })
  )
}
