import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { type Chunk, partsOf } from "@medipim/domain/ChunkPlan"
import type { SnapshotId } from "@medipim/domain/Ids"
import { type LinePiece, longestLine, longestOfAll, makeLineSplitter } from "@medipim/domain/LineSplitter"
import { Manifest, manifestKey, type Part } from "@medipim/domain/Snapshot"
import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { readObject } from "@medipim/platform/store/StoredObjects"
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

/** Where a line stands: `record` is its place in the snapshot, `lineIndex` its place in the part in which it begins. */
interface Place {
  readonly record: number
  readonly part: string
  readonly lineIndex: number
}

/** A line of a snapshot. `bytes` is all of it, or only its beginning when it is longer than the limit; `length` in bytes. */
export interface StoredLine extends Place {
  readonly bytes: Buffer
  readonly length: number
}

const decodeManifest = Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))

/** A broken read may succeed on retry; a broken object stays broken. */
const secondLook = {
  while: (error: StoreError | SnapshotBroken) => error._tag === "SnapshotBroken",
  schedule: Schedule.spaced("500 millis"),
  times: 2
}

/** Bytes; 6 GB of source make a manifest of 100 KB. */
const largestManifest = 16 * 1024 * 1024

/** Bytes of a part that are open at once. */
const window = 512 * 1024

/** Bytes of a line over the limit that are kept: enough to see what it is. */
const beginning = 64 * 1024

/** Joins the bytes of parts that follow each other to lines, with the place of each. */
const makeAssembler = (limit: number) => {
  const splitter = makeLineSplitter(limit)
  /** The line that has begun and not ended. */
  let open: Place | undefined
  let long: { readonly head: Buffer; length: number } | undefined

  const lengthen = ({ bytes, first }: LinePiece): void => {
    if (first) long = { head: Buffer.from(bytes.subarray(0, beginning)), length: 0 }
    if (long !== undefined) long.length += bytes.length
  }

  return {
    isOpen: () => open !== undefined,
    openBytes: splitter.openBytes,
    /** The lines that these bytes complete; `next` gives the place of a line that begins. */
    push: (bytes: Buffer, next: () => Place): ReadonlyArray<StoredLine> => {
      const lines: Array<StoredLine> = []
      const end = (line: Buffer, length: number): void => {
        lines.push({ ...(open ?? next()), bytes: line, length })
        open = undefined
      }
      for (const found of splitter.push(bytes)) {
        if (found instanceof Uint8Array) end(found, found.length)
        else {
          lengthen(found)
          open ??= next()
          if (found.last && long !== undefined) end(long.head, long.length)
        }
      }
      if (splitter.isOpen()) open ??= next()
      return lines
    }
  }
}
type Assembler = ReturnType<typeof makeAssembler>

/** Opens a part piece by piece, so that memory does not follow its size; fails when it holds other lines than it should. */
const linesOf = (
  part: Part,
  stored: Buffer,
  isContinued: boolean,
  assembler: Assembler
): Stream.Stream<StoredLine, SnapshotBroken> =>
  Stream.suspend(() => {
    const broken = (detail: string) => new SnapshotBroken({ key: part.key, detail })
    /** The rest of a line that began before the chunk. */
    let skipped = assembler.isOpen() ? 0 : (part.continuedBytes ?? 0)
    let begun = 0
    let bytes = 0
    const next = (): Place => {
      const lineIndex = begun
      begun += 1
      return { record: part.firstRecord + lineIndex, part: part.key, lineIndex }
    }
    const take = (piece: Buffer) => {
      bytes += piece.length
      const wanted = piece.subarray(skipped)
      skipped -= piece.length - wanted.length
      const found = assembler.push(wanted, next)
      if (assembler.openBytes() > longestOfAll) return Effect.fail(broken("a line has no end"))
      return bytes > part.bytes ? Effect.fail(broken("it is larger than its manifest says")) : Effect.succeed(found)
    }
    const complete = Effect.suspend(() => {
      const isCut = assembler.isOpen() && !isContinued
      return begun === part.records && assembler.isOpen() === isContinued
        ? Effect.succeed([])
        : Effect.fail(broken(`${isCut ? begun - 1 : begun} lines where ${part.records} were written`))
    })
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

      const object = (key: string, largest: number) =>
        readObject(store, key, largest, () => new SnapshotBroken({ key, detail: `it has more than ${largest} bytes` }))

      const manifest = Effect.fn("SnapshotReader.manifest")(function* (id: SnapshotId) {
        const key = manifestKey(id)
        const text = (yield* object(key, largestManifest)).toString("utf8")
        return yield* decodeManifest(text).pipe(
          Effect.mapError((error) => new SnapshotBroken({ key, detail: error.message }))
        )
      })

      /** A part as it was stored: what is not exactly that is not opened. */
      const stored = Effect.fn("SnapshotReader.part")(function* (part: Part) {
        const bytes = yield* object(part.key, part.compressedBytes)
        return createHash("sha256").update(bytes).digest("hex") === part.sha256
          ? bytes
          : yield* new SnapshotBroken({ key: part.key, detail: "its SHA-256 is not the one of its manifest" })
      }, Effect.retry(secondLook))

      const lines = ({ parts }: Manifest, chunk: Chunk) =>
        Stream.suspend(() => {
          const assembler = makeAssembler(longestLine)
          return Stream.fromIterable(partsOf(parts, chunk)).pipe(
            Stream.flatMap((part) => {
              const isContinued = (parts[parts.indexOf(part) + 1]?.continuedBytes ?? 0) > 0
              return Stream.unwrap(Effect.map(stored(part), (bytes) => linesOf(part, bytes, isContinued, assembler)))
            }),
            Stream.filter(({ record }) => record >= chunk.offset && record < chunk.offset + chunk.limit)
          )
        })

      return SnapshotReader.of({ manifest, lines })
    })
  )
}
