import { SnapshotId } from "@medipim/domain/Ids"
import { Manifest, manifestKey, type SnapshotSummary, snapshotsPrefix, summaryOf } from "@medipim/domain/Snapshot"
import { SnapshotStore, StoreError } from "@medipim/domain/SnapshotStore"
import { Context, Effect, Layer, Option, Schema, Stream } from "effect"

const readsAtOnce = 4
const decodeManifest = Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))
const isSnapshotId = Schema.is(SnapshotId)

/** The complete snapshots of the store. */
export class Snapshots extends Context.Service<
  Snapshots,
  {
    /** `None` while there is no manifest. */
    readonly find: (id: SnapshotId) => Effect.Effect<Option.Option<Manifest>, StoreError>
    /** Newest first. */
    readonly list: Effect.Effect<ReadonlyArray<SnapshotSummary>, StoreError>
  }
>()("fetcher/Snapshots") {
  static readonly layer = Layer.effect(
    Snapshots,
    Effect.gen(function* () {
      const store = yield* SnapshotStore

      const find = Effect.fn("Snapshots.find")(
        function* (id: SnapshotId) {
          const key = manifestKey(id)
          const text = Buffer.concat(yield* Stream.runCollect(store.get(key))).toString("utf8")
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

      const list = store.folders(snapshotsPrefix).pipe(
        Effect.flatMap((names) =>
          Effect.forEach(names.filter(isSnapshotId).reverse(), find, { concurrency: readsAtOnce })
        ),
        Effect.map((found) => found.flatMap(Option.toArray).map(summaryOf)),
        Effect.withSpan("Snapshots.list")
      )

      return Snapshots.of({ find, list })
    })
  )
}
