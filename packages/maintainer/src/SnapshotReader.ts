import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
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

const decodeManifest = Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))
/** A read that breaks half-way begins again. */
const persistence = { schedule: Schedule.exponential("250 millis").pipe(Schedule.jittered), times: 4 }

/** What was read wrong once may be read right; what was written wrong stays so. */
const secondLook = {
  while: (error: StoreError | SnapshotBroken) => error._tag === "SnapshotBroken",
  schedule: Schedule.spaced("500 millis"),
  times: 2
}

/** Bytes of a part that are open at once. */
const window = 512 * 1024

/** Opens a part piece by piece, so that memory does not follow its size; fails when it holds other lines than it should. */
const linesOf = (part: Part, stored: Buffer): Stream.Stream<Buffer, SnapshotBroken> =>
  Stream.suspend(() => {
    const broken = (detail: string) => new SnapshotBroken({ key: part.key, detail })
    const splitter = makeLineSplitter()
    let lines = 0
    let bytes = 0
    const take = (piece: Buffer) => {
      bytes += piece.length
      const found = splitter.push(piece)
      lines += found.length
      return bytes > part.bytes ? Effect.fail(broken("it is larger than its manifest says")) : Effect.succeed(found)
    }
    const complete = Effect.suspend(() =>
      lines === part.records && splitter.rest().length === 0
        ? Effect.succeed([])
        : Effect.fail(broken(`${lines} lines where ${part.records} were written`))
    )
    return NodeStream.fromReadable<Buffer, SnapshotBroken>({
      evaluate: () => Readable.from([stored]).pipe(createGunzip({ chunkSize: window })),
      onError: (error) => broken((error as Error).message)
    }).pipe(Stream.mapEffect(take), Stream.concat(Stream.fromEffect(complete)), Stream.flattenIterable)
  })

/** Reads snapshots, checking every part against its manifest: size, hash and number of lines. */
export class SnapshotReader extends Context.Service<
  SnapshotReader,
  {
    readonly manifest: (id: SnapshotId) => Effect.Effect<Manifest, StoreError | SnapshotBroken>
    /** The lines of a chunk, in order; parts without a record of the chunk are not read. */
    readonly lines: (manifest: Manifest, chunk: Chunk) => Stream.Stream<StoredLine, StoreError | SnapshotBroken>
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

      /** A part as it was stored: what is not exactly that is not opened. */
      const stored = Effect.fn("SnapshotReader.part")(function* (part: Part) {
        const bytes = yield* object(part.key)
        return createHash("sha256").update(bytes).digest("hex") === part.sha256
          ? bytes
          : yield* new SnapshotBroken({ key: part.key, detail: "its SHA-256 is not the one of its manifest" })
      }, Effect.retry(secondLook))

      const linesInChunk = (of: Part, chunk: Chunk) =>
        Stream.unwrap(Effect.map(stored(of), (bytes) => linesOf(of, bytes))).pipe(
          Stream.map((bytes, lineIndex) => ({ record: of.firstRecord + lineIndex, part: of.key, lineIndex, bytes })),
          Stream.filter(({ record }) => record >= chunk.offset && record < chunk.offset + chunk.limit)
        )

      return SnapshotReader.of({
        manifest,
        lines: (manifest, chunk) =>
          Stream.fromIterable(partsOf(manifest.parts, chunk)).pipe(Stream.flatMap((of) => linesInChunk(of, chunk)))
      })
    })
  )
}
