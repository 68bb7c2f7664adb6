import { randomBytes } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { Effect, type Layer, Stream } from "effect"

const type = "application/octet-stream"
const bytesOf = (key: string) =>
  Effect.flatMap(SnapshotStore, (store) =>
    Effect.map(Stream.runCollect(store.get(key)), (pieces) => Buffer.concat([...pieces]))
  )

/** What every snapshot store does; each adapter is held to it. */
export const storeConformance = <E>(name: string, store: Layer.Layer<SnapshotStore, E>): void =>
  layer(store, { excludeTestServices: true })(name, (it) => {
    it.effect("prepares its place, and again without harm", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        yield* store.check
        yield* store.check
      })
    )

    it.effect("gives back exactly the bytes that it took, from none to 6 MB", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        for (const size of [0, 1, 65_537, 6 * 1024 * 1024]) {
          const bytes = randomBytes(size)
          yield* store.put(`snapshots/exact/${size}.bin`, bytes, type)
          assert.isTrue((yield* bytesOf(`snapshots/exact/${size}.bin`)).equals(bytes), `${size} bytes`)
        }
      })
    )

    it.effect("replaces an object, and takes the same one twice", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        for (const text of ["first", "second", "second"]) yield* store.put("snapshots/r/a", Buffer.from(text), type)
        assert.strictEqual((yield* bytesOf("snapshots/r/a")).toString(), "second")
      })
    )

    it.effect("says not-found for an object that is not there, and does not try again", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(bytesOf("snapshots/none/manifest.json"))
        assert.deepInclude(error, { _tag: "StoreError", fault: "not-found", retryable: false })
      })
    )

    it.effect("lists objects at any depth, sorted, with their size, more than a page of them", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        const keys = Array.from({ length: 1030 }, (_, i) => `snapshots/many/part-${String(i).padStart(5, "0")}.gz`)
        const all = [...keys, "snapshots/many/deep/er/z.json"].sort()
        yield* Effect.forEach(all, (key) => store.put(key, Buffer.from("12345"), type), { concurrency: 8 })
        const listed = yield* store.list("snapshots/many/")
        assert.deepStrictEqual(
          listed,
          all.map((key) => ({ key, size: 5 }))
        )
        assert.deepStrictEqual(yield* store.list("snapshots/nothing-here/"), [])
      })
    )

    it.effect("names the folders directly below a prefix", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        for (const key of ["folders/b/x", "folders/a/y/z", "folders/c/x", "folders/file"]) {
          yield* store.put(key, Buffer.from("1"), type)
        }
        assert.deepStrictEqual(yield* store.folders("folders/"), ["a", "b", "c"])
        assert.deepStrictEqual(yield* store.folders("no-such/"), [])
      })
    )

    it.effect("removes objects, missing ones too, and leaves the others", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        for (const key of ["gone/a", "gone/b", "gone/c"]) yield* store.put(key, Buffer.from("1"), type)
        yield* store.remove(["gone/a", "gone/b", "gone/never-was"])
        yield* store.remove([])
        assert.deepStrictEqual(
          (yield* store.list("gone/")).map(({ key }) => key),
          ["gone/c"]
        )
      })
    )

    it.effect("refuses keys that leave its place or that no store takes", () =>
      Effect.gen(function* () {
        const store = yield* SnapshotStore
        for (const key of ["../x", "a/../../x", "/etc/x", "a/./b", "ä", "a b", "a#b", "a\\b"]) {
          const error = yield* Effect.flip(store.put(key, Buffer.from("1"), type))
          assert.strictEqual(error.fault, "invalid", key)
          assert.strictEqual((yield* Effect.flip(bytesOf(key))).fault, "invalid", key)
        }
      })
    )
  })
