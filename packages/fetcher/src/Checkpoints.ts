import { isDeepStrictEqual } from "node:util"
import type { SnapshotId } from "@medipim/domain/Ids"
import {
  type Asked,
  type Cursor,
  type Part,
  prefixOf,
  type Segment,
  Sidecar,
  sidecarKey
} from "@medipim/domain/Snapshot"
import { SnapshotStore, StoreError } from "@medipim/domain/SnapshotStore"
import { readObject } from "@medipim/platform/store/StoredObjects"
import { Clock, Context, Duration, Effect, Layer, Option, Schema } from "effect"

/** A part that is to be stored, and then its sidecar. */
export interface CutPart {
  readonly stored: Buffer
  readonly sidecar: Sidecar
}

/** What a download has brought so far, as the store knows it. */
export interface Checkpoint {
  readonly parts: ReadonlyArray<Part>
  readonly segments: ReadonlyArray<Segment>
  readonly records: number
  readonly bytes: number
  readonly total: number
  /** `null` only when nothing is stored. */
  readonly cursor: Cursor | null
}

export const nothing: Checkpoint = { parts: [], segments: [], records: 0, bytes: 0, total: 0, cursor: null }

export const partOf = ({ total, request, segments, cursor, ...part }: Sidecar): Part => part

/** Appends a part. */
const withPart = (before: Checkpoint, sidecar: Sidecar): Checkpoint => ({
  parts: [...before.parts, partOf(sidecar)],
  segments: sidecar.segments,
  records: before.records + sidecar.records,
  bytes: before.bytes + sidecar.bytes,
  total: sidecar.total,
  cursor: sidecar.cursor
})

/** The last place in a chain of parts, each good and joined to the one before it, from which a download can resume. */
const lastOf = (sidecars: ReadonlyArray<Option.Option<Sidecar>>, isGood: (sidecar: Sidecar) => boolean): Checkpoint => {
  let found = nothing
  let last = nothing
  for (const { value: sidecar } of sidecars.filter(Option.isSome)) {
    const joins = sidecar.firstRecord === found.records && (found === nothing || sidecar.total === found.total)
    if (!joins || !isGood(sidecar)) break
    found = withPart(found, sidecar)
    if (found.cursor !== null) last = found
  }
  return last
}

/** Bytes of a sidecar or a manifest; 6 GB of source make a manifest of 100 KB. */
export const largestObject = 16 * 1024 * 1024
export const tooLarge = (key: string): StoreError =>
  new StoreError({ operation: "get", key, fault: "invalid", detail: `it has more than ${largestObject} bytes` })

/** An older download is restarted from scratch: its parts would be from different days. */
const oldest = Duration.hours(6)
/** What begins in the future was begun by a clock that was wrong. */
const isYoung = (age: number): boolean => age >= 0 && age <= Duration.toMillis(oldest)
const readsAtOnce = 8
const decodeSidecar = Schema.decodeUnknownOption(Schema.fromJsonString(Sidecar))
const encodeSidecar = Schema.encodeEffect(Schema.fromJsonString(Sidecar))

/** Parts with their sidecars: all the state of a download, and all that is needed to resume after a kill. */
export class Checkpoints extends Context.Service<
  Checkpoints,
  {
    readonly save: (id: SnapshotId, number: number, part: CutPart) => Effect.Effect<Sidecar, StoreError>
    /** The resume position; everything that does not belong to it is deleted. */
    readonly load: (id: SnapshotId, request: Asked) => Effect.Effect<Checkpoint, StoreError>
    /** Removes all of it. */
    readonly clear: (id: SnapshotId) => Effect.Effect<void, StoreError>
  }
>()("fetcher/Checkpoints") {
  static readonly layer = Layer.effect(
    Checkpoints,
    Effect.gen(function* () {
      const store = yield* SnapshotStore

      const save = Effect.fn("Checkpoints.save")(function* (id: SnapshotId, number: number, part: CutPart) {
        const { stored, sidecar } = part
        const text = yield* Effect.orDie(encodeSidecar(sidecar))
        yield* store.put(sidecar.key, stored, "application/gzip")
        yield* store.put(sidecarKey(id, number), Buffer.from(text), "application/json")
        return sidecar
      })

      const read = (key: string) =>
        readObject(store, key, largestObject, () => tooLarge(key)).pipe(
          Effect.map((bytes) => decodeSidecar(bytes.toString("utf8"))),
          Effect.catchIf(
            (error) => error.fault === "not-found",
            () => Effect.succeedNone
          )
        )

      const load = Effect.fn("Checkpoints.load")(function* (id: SnapshotId, request: Asked) {
        const objects = yield* store.list(prefixOf(id))
        const sizes = new Map(objects.map(({ key, size }) => [key, size]))
        const isBeside = (number: number) => sizes.has(sidecarKey(id, number))
        let count = 0
        while (isBeside(count)) count += 1
        const sidecars = yield* Effect.forEach(
          Array.from({ length: count }, (_, number) => sidecarKey(id, number)),
          read,
          { concurrency: readsAtOnce }
        )
        const now = yield* Clock.currentTimeMillis
        const last = lastOf(
          sidecars,
          ({ key, compressedBytes, request: asked, segments }) =>
            sizes.get(key) === compressedBytes &&
            isDeepStrictEqual(asked, request) &&
            isYoung(now - Date.parse(segments[0].startedAt))
        )
        const kept = new Set(last.parts.flatMap(({ key }, number) => [key, sidecarKey(id, number)]))
        yield* store.remove([...sizes.keys()].filter((key) => !kept.has(key)))
        return last
      })

      const clear = Effect.fn("Checkpoints.clear")(function* (id: SnapshotId) {
        const left = yield* store.list(prefixOf(id))
        yield* store.remove(left.map(({ key }) => key))
      })

      return Checkpoints.of({ save, load, clear })
    })
  )
}
