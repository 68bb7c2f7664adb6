import { SnapshotId } from "@medipim/domain/Ids"
import { Manifest, manifestKey, prefixOf, snapshotsPrefix } from "@medipim/domain/Snapshot"
import { SnapshotStore, StoreError } from "@medipim/domain/SnapshotStore"
import { readObject } from "@medipim/platform/store/StoredObjects"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { largestObject, tooLarge } from "./Checkpoints.ts"

const readsAtOnce = 4
const decodeManifest = Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))
const isSnapshotId = Schema.is(SnapshotId)

/** The complete snapshots of the store. */
export class Snapshots extends Context.Service<
  Snapshots,
  {
    /** `None` while there is no manifest. */
    readonly find: (id: SnapshotId) => Effect.Effect<Option.Option<Manifest>, StoreError>
    /** Newest first, by name; the database knows the real order. */
    readonly list: Effect.Effect<ReadonlyArray<Manifest>, StoreError>
    /** Removes all but these, also what downloads that were killed have left. Answers what went. */
    readonly prune: (keep: ReadonlySet<SnapshotId>) => Effect.Effect<ReadonlyArray<SnapshotId>, StoreError>
  }
>()("fetcher/Snapshots") {
  static readonly layer = Layer.effect(
    Snapshots,
    Effect.gen(function* () {
      const store = yield* SnapshotStore

      const find = Effect.fn("Snapshots.find")(
        function* (id: SnapshotId) {
          const key = manifestKey(id)
          const text = (yield* readObject(store, key, largestObject, () => tooLarge(key))).toString("utf8")
          const manifest = yield* decodeManifest(text).pipe(
            Effect.mapError(
              (error) =>
                new StoreError({ operation: "get", key, fault: "invalid", detail: error.message.slice(0, 500) })
            )
          )
          return Option.some(manifest)
        },
        Effect.catchIf(
          (error) => error.fault === "not-found",
          () => Effect.succeedNone
        )
      )

      /** All that have begun, newest first. */
      const ids = Effect.map(store.folders(snapshotsPrefix), (names) => names.filter(isSnapshotId).reverse())

      /** An unreadable manifest hides only its own snapshot. */
      const readable = (id: SnapshotId) =>
        find(id).pipe(
          Effect.catchIf(
            (error) => error.fault === "invalid",
            (error) => Effect.as(Effect.logWarning(error.message), Option.none<Manifest>())
          )
        )

      const list = ids.pipe(
        Effect.flatMap((all) => Effect.forEach(all, readable, { concurrency: readsAtOnce })),
        Effect.map((found) => found.flatMap(Option.toArray)),
        Effect.withSpan("Snapshots.list")
      )

      /** The manifest goes first: a snapshot that is half removed is none. */
      const remove = Effect.fnUntraced(function* (id: SnapshotId) {
        const objects = yield* store.list(prefixOf(id))
        yield* store.remove([manifestKey(id)])
        yield* store.remove(objects.map(({ key }) => key))
      })

      const prune = Effect.fn("Snapshots.prune")(function* (keep: ReadonlySet<SnapshotId>) {
        const old = (yield* ids).filter((id) => !keep.has(id))
        yield* Effect.forEach(old, remove, { discard: true })
        return old
      })

      return Snapshots.of({ find, list, prune })
    })
  )
}
