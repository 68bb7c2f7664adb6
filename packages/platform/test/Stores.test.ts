import { chmodSync, existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { storeConformance } from "@medipim/testing/StoreConformance"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import * as FolderStore from "../src/store/FolderStore.ts"
import { readObject } from "../src/store/StoredObjects.ts"
import * as SupabaseStore from "../src/store/SupabaseStore.ts"

const folder = Layer.unwrap(
  Effect.map(temporaryFolder("store"), (dir) => FolderStore.layer(join(dir, "deeper", "snapshots")))
)

const supabase = (key?: string) =>
  Layer.unwrap(
    Effect.map(SupabaseStandIn, (standIn) =>
      SupabaseStore.layer({
        url: standIn.url,
        serviceRoleKey: Redacted.make(key ?? standIn.key),
        bucket: "medipim-raw"
      })
    )
  ).pipe(Layer.provideMerge(SupabaseStandIn.layer))

const text = (key: string) =>
  Effect.flatMap(SnapshotStore, (store) =>
    Effect.map(Stream.runCollect(store.get(key)), (pieces) => Buffer.concat([...pieces]).toString())
  )
/** As the services read: again when a read breaks. */
const textPatiently = (key: string) =>
  Effect.flatMap(SnapshotStore, (store) => readObject(store, key, 1000, () => ({ _tag: "TooLarge" }) as const)).pipe(
    Effect.map(String)
  )

describe("stores", () => {
  storeConformance("a folder", folder)
  storeConformance("Supabase Storage", supabase())
})

layer(supabase(), { excludeTestServices: true })("Supabase Storage on a bad day", (it) => {
  it.effect("passes through faults that pass", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const { trouble } = yield* SupabaseStandIn
      yield* store.check
      trouble("unavailable", "html", "slow-down")
      yield* store.put("a/b", Buffer.from("hello"), "text/plain")
      trouble("unavailable", "slow-down")
      assert.strictEqual(yield* textPatiently("a/b"), "hello")
      trouble("html")
      assert.deepStrictEqual(yield* store.list("a/"), [{ key: "a/b", size: 5 }])
    })
  )

  it.effect("repeats a write whose answer was lost", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const { trouble, seen } = yield* SupabaseStandIn
      trouble("answer-lost")
      const before = seen().length
      yield* store.put("lost/answer", Buffer.from("once"), "text/plain")
      assert.strictEqual(seen().length - before, 2)
      assert.strictEqual(yield* text("lost/answer"), "once")
    })
  )

  it.effect("fails a read that ends early: it never looks like the end", () =>
    Effect.gen(function* () {
      const { trouble } = yield* SupabaseStandIn
      trouble("cut-body")
      const error = yield* Effect.flip(text("a/b"))
      assert.deepInclude(error, { _tag: "StoreError", fault: "unavailable", retryable: true })
    })
  )

  it.effect("asks once for what will not change: an object that is too large", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const { seen } = yield* SupabaseStandIn
      const before = seen().length
      const large = yield* Effect.flip(store.put("a/large", Buffer.alloc(11 * 1024 * 1024), "text/plain"))
      assert.deepInclude(large, { fault: "too-large", retryable: false })
      assert.strictEqual(seen().length - before, 1)
    })
  )

  it.effect("makes a bucket that is missing, whoever finds that out first", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const { dropBucket } = yield* SupabaseStandIn
      dropBucket()
      assert.strictEqual((yield* Effect.flip(text("a/b"))).fault, "not-found")
      dropBucket()
      yield* store.put("a/b", Buffer.from("back"), "text/plain")
      assert.strictEqual(yield* text("a/b"), "back")
      dropBucket()
      yield* store.check
      assert.deepStrictEqual(yield* store.list("a/"), [])
    })
  )

  it.effect("stops at once when it is interrupted in a request that hangs", () =>
    Effect.gen(function* () {
      const { trouble } = yield* SupabaseStandIn
      trouble("hang")
      const fiber = yield* Effect.forkChild(text("a/b"))
      yield* Effect.sleep("100 millis")
      const started = performance.now()
      yield* Fiber.interrupt(fiber)
      assert.isBelow(performance.now() - started, 1000)
    })
  )
})

layer(supabase("sb_secret_wrong-key-0123456789"), { excludeTestServices: true })("A wrong key", (it) => {
  it.effect("is told as denied, and never shown", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const put = store.put("a/b", Buffer.from("1"), "text/plain")
      for (const attempt of [store.check, put, Effect.asVoid(text("a/b"))]) {
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(error.fault, "denied")
        assert.notInclude(JSON.stringify(error) + error.message, "wrong-key")
      }
    })
  )
})

layer(folder, { excludeTestServices: true })("A folder", (it) => {
  it.effect("leaves no half-written file behind and says what it may not do", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder("folder")
      const store = yield* SnapshotStore.pipe(Effect.provide(FolderStore.layer(dir)))
      yield* store.put("s/x", Buffer.from("1"), "text/plain")
      assert.deepStrictEqual(readdirSync(join(dir, "s")), ["x"])
      yield* store.remove(["s/x"])
      assert.isFalse(existsSync(join(dir, "s")), "an empty folder goes with its last object")
      if (process.getuid?.() !== 0) {
        chmodSync(dir, 0o500)
        assert.strictEqual((yield* Effect.flip(store.put("s/y", Buffer.from("1"), "text/plain"))).fault, "denied")
        chmodSync(dir, 0o700)
      }
    })
  )

  it.effect("removes what writes that were killed have left, once nobody can be writing it any more", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder("folder")
      const store = yield* SnapshotStore.pipe(Effect.provide(FolderStore.layer(dir)))
      const hoursAgo = (hours: number) => Date.now() / 1000 - hours * 3600
      const draft = (path: string, hours: number) => {
        writeFileSync(join(dir, path), "half")
        utimesSync(join(dir, path), hoursAgo(hours), hoursAgo(hours))
      }
      yield* store.put("s/x", Buffer.from("1"), "text/plain")
      draft(".tmp-probe-1", 25)
      draft(".tmp-probe-2", 23)
      draft("s/.tmp-1", 25)
      draft("s/.tmp-2", 23)
      yield* store.check
      assert.deepStrictEqual(readdirSync(dir), [".tmp-probe-2", "s"])
      yield* store.remove(["s/x"])
      assert.deepStrictEqual(readdirSync(join(dir, "s")), [".tmp-2"])
      draft("s/.tmp-2", 25)
      yield* store.remove(["s/x"])
      assert.isFalse(existsSync(join(dir, "s")), "the folder of a pruned snapshot goes when it is asked for again")
    })
  )
})
