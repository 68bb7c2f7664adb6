import type { SnapshotStore, StoreError } from "@medipim/domain/SnapshotStore"
import { Effect, Stream } from "effect"
import { retryOutageOf } from "../process/Outage.ts"

const isStoreError = (error: { readonly _tag: string }): error is StoreError => error._tag === "StoreError"

/** Retries while the store is unavailable; permanent faults are not retried. */
export const retryStoreOutage = retryOutageOf(
  "the snapshot store",
  (error: { readonly _tag: string }) => isStoreError(error) && error.retryable,
  (error) => (isStoreError(error) ? error.detail : error._tag)
)

/** A whole object; retries through an outage of the store or a broken read. More than `largest` bytes are not read. */
export const readObject = <E extends { readonly _tag: string }>(
  store: SnapshotStore["Service"],
  key: string,
  largest: number,
  tooLarge: () => E
): Effect.Effect<Buffer, StoreError | E> =>
  Stream.suspend(() => {
    let bytes = 0
    return store.get(key).pipe(
      Stream.mapEffect((piece): Effect.Effect<Uint8Array, E> => {
        bytes += piece.length
        return bytes > largest ? Effect.fail(tooLarge()) : Effect.succeed(piece)
      })
    )
  }).pipe(
    Stream.runCollect,
    Effect.map((pieces) => Buffer.concat(pieces)),
    retryStoreOutage
  )
