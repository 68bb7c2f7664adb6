import { Context, type Effect, Schema, type Stream } from "effect"

/** Why the store said no. Only `unavailable` can get better by asking again. */
export const StoreFault = Schema.Literals([
  "not-found",
  "bucket-missing",
  "denied",
  "public",
  "full",
  "too-large",
  "invalid",
  "unavailable"
])

/** What a person can do; the other faults are ours. */
const advice: Partial<Record<typeof StoreFault.Type, string>> = {
  "not-found": "Sync again with forceRefresh.",
  "bucket-missing": "Check SUPABASE_URL, BUCKET and the key: a key without permission sees no bucket.",
  denied:
    "Check the secret key of Supabase (the anon or publishable key sees no bucket), or who may write to the folder.",
  public: "Make the bucket private: what is in it can be read without a key.",
  full: "Make room on the disk, or use a larger one.",
  unavailable: "Sync again once the store answers."
}

/** The store did not do what was asked. `detail` is what it said; the message ends with what a person can do. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  fault: StoreFault,
  operation: Schema.Literals(["put", "get", "list", "remove", "prepare"]),
  key: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    const what = `Snapshot store: ${this.operation} ${this.key} failed (${this.fault}): ${this.detail}`
    const next = advice[this.fault]
    return next === undefined ? what : `${what.replace(/\.$/, "")}. ${next}`
  }
  get retryable(): boolean {
    return this.fault === "unavailable"
  }
}

/** A stored object; `size` in bytes. */
export interface StoredObject {
  readonly key: string
  readonly size: number
}

/**
 * Where snapshots live: Supabase Storage, or a folder on disk. Keys are ASCII paths. The store is no lock and has no
 * compare-and-swap (docs/reference/supabase-storage.md#writes): one writer per snapshot is settled elsewhere.
 */
export class SnapshotStore extends Context.Service<
  SnapshotStore,
  {
    /** Stores one object whole or not at all; repeating it with the same bytes is safe. */
    readonly put: (key: string, bytes: Uint8Array, contentType: string) => Effect.Effect<void, StoreError>
    /**
     * The bytes of one object. A read that ends early fails; it never looks like the end. It is not retried: the reader
     * starts over (`StoredObjects.readObject`). The other operations retry while the store is unavailable.
     */
    readonly get: (key: string) => Stream.Stream<Uint8Array, StoreError>
    /** Every object below a prefix that ends in `/`, at any depth, sorted by key. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<StoredObject>, StoreError>
    /** The names directly below a prefix that ends in `/`, sorted: for `snapshots/` the snapshot ids. */
    readonly folders: (prefix: string) => Effect.Effect<ReadonlyArray<string>, StoreError>
    /** Removes objects; missing ones are no error. */
    readonly remove: (keys: ReadonlyArray<string>) => Effect.Effect<void, StoreError>
    /** Fails, with the cause and without trying again, when nothing can be stored now. */
    readonly check: Effect.Effect<void, StoreError>
  }
>()("domain/SnapshotStore") {}
