import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it, layer } from "@effect/vitest"
import { SnapshotId } from "@medipim/domain/Ids"
import { allStatuses } from "@medipim/domain/MediPim"
import { prefixOf } from "@medipim/domain/Snapshot"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import * as FolderStore from "@medipim/platform/store/FolderStore"
import { Simulator } from "@medipim/simulator/Simulator"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect, Layer, Redacted, Stream } from "effect"
import { Checkpoints } from "../src/Checkpoints.ts"
import { Download } from "../src/Download.ts"
import * as MediPimHttp from "../src/MediPimHttp.ts"
import { usualPartBytes } from "../src/PartWriter.ts"
import { Snapshots } from "../src/Snapshots.ts"

const products = 2000
const keySecret = Redacted.make("a-secret-for-tests-only")
/** Silence after which a stream counts as stalled, in milliseconds. */
const impatient = 400
const patient = 20_000
/** Bytes before compression. */
const smallPart = 1_000_000

let serial = 0
const nextId = () => SnapshotId.make(`20261123T020000Z-${String(++serial).padStart(8, "0")}`)

const temporary = temporaryFolder("fetch")

const downloads = (requestTimeout: number, secret = keySecret, partBytes = usualPartBytes) =>
  Download.layer({ filter: allStatuses, partBytes }).pipe(
    Layer.provideMerge([Snapshots.layer, Checkpoints.layer]),
    Layer.provide(
      Layer.unwrap(
        Effect.map(Simulator, ({ url }) =>
          MediPimHttp.layer({ url, keyId: "7", keySecret: secret, requestTimeout, userAgent: "test" })
        )
      )
    ),
    Layer.provide(NodeHttpClient.layerUndici)
  )

const simulated = (file?: string) =>
  Layer.merge(
    Simulator.layer({ port: 0, products, seed: 3, keyId: "7", keySecret, ...(file === undefined ? {} : { file }) }),
    Layer.unwrap(Effect.map(temporary, (dir) => FolderStore.layer(dir)))
  )

const control = (route: string, body?: unknown) =>
  Effect.flatMap(Simulator, ({ origin }) =>
    Effect.promise(async () => {
      const [method = "GET", path] = route.split(" ")
      const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
      return (await (await fetch(`${origin}${path}`, init)).json()) as Record<string, unknown>
    })
  )
const requests = Effect.map(control("GET /control/catalogue"), ({ requests }) => requests as number)

const run = (id: SnapshotId) => Effect.flatMap(Download, (download) => download.run(id, () => Effect.void))
const keysOf = (id: SnapshotId) =>
  Effect.flatMap(SnapshotStore, (store) =>
    Effect.map(store.list(prefixOf(id)), (found) => found.map(({ key }) => key.slice(prefixOf(id).length)))
  )
const bytesOf = (key: string) =>
  Effect.flatMap(SnapshotStore, (store) =>
    Effect.map(Stream.runCollect(store.get(key)), (pieces) => Buffer.concat([...pieces]))
  )

layer(downloads(impatient, keySecret, smallPart).pipe(Layer.provideMerge(simulated())), { excludeTestServices: true })(
  "A download in small parts",
  (it) => {
    it.effect("closes a part once it has its size", () =>
      Effect.gen(function* () {
        const { parts } = yield* run(nextId())
        assert.isAbove(parts.length, 5)
        for (const { bytes } of parts.slice(0, -1)) assert.isTrue(bytes >= smallPart && bytes < 1.5 * smallPart)
      })
    )
  }
)

layer(downloads(impatient).pipe(Layer.provideMerge(simulated())), { excludeTestServices: true })("A download", (it) => {
  it.effect("stores parts, sidecars and last the manifest, which describes them exactly", () =>
    Effect.gen(function* () {
      const id = nextId()
      const manifest = yield* run(id)
      assert.deepInclude(manifest, { snapshotId: id, records: products, total: products, complete: true })
      assert.deepStrictEqual(yield* keysOf(id), ["manifest.json", "part-00000.json", "part-00000.ndjson.gz"])
      let bytes = 0
      for (const part of manifest.parts) {
        const stored = yield* bytesOf(part.key)
        const raw = gunzipSync(stored)
        assert.strictEqual(createHash("sha256").update(stored).digest("hex"), part.sha256)
        assert.deepStrictEqual([stored.length, raw.length], [part.compressedBytes, part.bytes])
        assert.strictEqual(raw.toString().split("\n").length - 1, part.records)
        bytes += raw.length
      }
      assert.strictEqual(manifest.bytes, bytes)
    })
  )

  it.effect("asks nothing again for a snapshot that is complete", () =>
    Effect.gen(function* () {
      const id = nextId()
      const first = yield* run(id)
      const before = yield* requests
      assert.deepStrictEqual(yield* run(id), first)
      assert.strictEqual(yield* requests, before)
    })
  )

  it.effect("takes a line that cannot be read for the record that it is", () =>
    Effect.gen(function* () {
      yield* control("POST /control/faults", { fault: "invalid-json-line", at: 77 })
      assert.strictEqual((yield* run(nextId())).records, products)
    })
  )

  it.effect("marks an empty answer as not complete", () =>
    Effect.gen(function* () {
      yield* control("POST /control/faults", { fault: "empty" })
      assert.deepInclude(yield* run(nextId()), { complete: false, records: 0, parts: [] })
    })
  )

  it.effect("waits as long as Retry-After says, and passes through what passes", () =>
    Effect.gen(function* () {
      yield* control("POST /control/faults", { fault: "rate-limited", retryAfter: 2 })
      const started = performance.now()
      yield* run(nextId())
      assert.isAtLeast(performance.now() - started, 2000)
      yield* control("POST /control/faults", { fault: "server-error" })
      yield* control("POST /control/faults", { fault: "maintenance" })
      assert.strictEqual((yield* run(nextId())).records, products)
    })
  )

  it.effect("does not ask again when the key is refused", () =>
    Effect.gen(function* () {
      const before = yield* requests
      yield* control("POST /control/faults", { fault: "refused" })
      const error = yield* Effect.flip(run(nextId()))
      assert.deepInclude(error, { _tag: "MediPimError", status: 401, code: "authentication.not_authenticated" })
      assert.strictEqual((yield* requests) - before, 1)
    })
  )

  it.effect("removes all snapshots but those that are kept, and what killed downloads left", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore
      const killed = nextId()
      yield* store.put(`${prefixOf(killed)}part-00000.ndjson.gz`, Buffer.from("half"), "application/gzip")
      const [kept, gone] = [(yield* run(nextId())).snapshotId, (yield* run(nextId())).snapshotId]
      const { list, prune } = yield* Snapshots
      const removed = yield* prune(new Set([kept]))
      assert.includeMembers([...removed], [gone, killed])
      assert.deepStrictEqual(yield* store.folders("snapshots/"), [kept])
      assert.deepStrictEqual(
        (yield* list).map(({ snapshotId }) => snapshotId),
        [kept]
      )
    })
  )

  it.effect("never shows its key", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        run(nextId()).pipe(Effect.provide(downloads(patient, Redacted.make("another-secret-of-mine"))))
      )
      assert.deepInclude(error, { _tag: "MediPimError", status: 401 })
      assert.notInclude(`${error.message}${JSON.stringify(error)}`, "another-secret")
    })
  )
})

const broken = [
  ["gap", "gap"],
  ["duplicate-line", "gap"],
  ["total-changes", "total"],
  ["html", "not-a-stream"]
] as const

describe("A stream that stays broken", () => {
  it.live(
    "never becomes a snapshot, and the error tells how it broke",
    () =>
      Effect.forEach(
        broken,
        ([fault, told]) =>
          Effect.gen(function* () {
            yield* control("POST /control/faults", { fault, times: 3 })
            const id = nextId()
            const error = yield* Effect.flip(run(id))
            assert.deepInclude(error, { _tag: "StreamBroken", fault: told }, fault)
            assert.deepStrictEqual(yield* keysOf(id), [], fault)
            assert.strictEqual(yield* requests, 3, fault)
          }).pipe(Effect.provide(downloads(patient).pipe(Layer.provideMerge(simulated())), { local: true })),
        { concurrency: broken.length }
      ),
    60_000
  )
})

describe("The bytes of a snapshot", () => {
  it.live("are the bytes that came", () =>
    Effect.gen(function* () {
      const dir = yield* temporary
      const total = 3000
      const lines = Array.from(
        { length: total },
        (_, index) => `{"meta":{"total":${total},"index":${index}},"result":{"id":"M${index}","x":"ü\\/ ${index}"}}\n`
      ).join("")
      const file = join(dir, "lines.ndjson")
      writeFileSync(file, lines)
      yield* Effect.gen(function* () {
        const manifest = yield* run(nextId())
        const stored = yield* Effect.forEach(manifest.parts, ({ key }) => Effect.map(bytesOf(key), gunzipSync))
        assert.strictEqual(Buffer.concat(stored).toString(), lines)
      }).pipe(Effect.provide(downloads(patient).pipe(Layer.provideMerge(simulated(file)))))
    }).pipe(Effect.scoped)
  )
})
