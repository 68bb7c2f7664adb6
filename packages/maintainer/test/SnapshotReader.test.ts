import { createHash } from "node:crypto"
import { gzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import type { SnapshotId } from "@medipim/domain/Ids"
import { Manifest, manifestKey, type Part } from "@medipim/domain/Snapshot"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { Effect, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { Publish } from "../src/Publish.ts"
import { beginRun, empty, line, products, services, snapshotOf } from "./Fixture.ts"

/** A part of the fixture has so many lines. */
const inPart = 7
const textOf = (sources: ReadonlyArray<unknown>) =>
  Buffer.from(sources.map((source, index) => line(source, index, sources.length)).join(""))
const right = textOf(products(inPart))

/** What lies in the place of the last part, and what the manifest tells of it otherwise than of what was written. */
interface Damage {
  readonly stored?: Buffer
  readonly told?: Partial<Part>
}

/** The manifest knows these very bytes: their hash does not give them away. */
const known = (stored: Buffer, bytes = right.length): Damage => ({
  stored,
  told: { sha256: createHash("sha256").update(stored).digest("hex"), compressedBytes: stored.length, bytes }
})

const StoredManifest = Schema.fromJsonString(Manifest)

const damage = Effect.fnUntraced(function* (snapshotId: SnapshotId, { stored, told = {} }: Damage) {
  const store = yield* SnapshotStore
  const text = Buffer.concat(yield* Stream.runCollect(store.get(manifestKey(snapshotId)))).toString()
  const manifest = yield* Schema.decodeEffect(StoredManifest)(text)
  const last = manifest.parts.at(-1) as Part
  const parts = [...manifest.parts.slice(0, -1), { ...last, ...told }]
  const changed = yield* Schema.encodeEffect(StoredManifest)({ ...manifest, parts })
  yield* store.put(manifestKey(snapshotId), Buffer.from(changed), "application/json")
  if (stored !== undefined) yield* store.put(last.key, stored, "application/gzip")
  return last.key
})

/** Rows of staging, chunks that count as staged, and rows of the catalogue. */
const written = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [rows] = yield* sql<{ readonly staged: number; readonly chunks: number; readonly products: number }>`SELECT
    (SELECT count(*)::int FROM medipim.stage_products) AS staged,
    (SELECT count(*)::int FROM medipim.sync_chunks) AS chunks,
    (SELECT count(*)::int FROM public.products) AS products`
  return rows
})

/** A run over a snapshot of so many products whose last part is damaged. */
const begun = Effect.fnUntraced(function* (count: number, how: Damage) {
  yield* empty
  const sql = yield* SqlClient
  yield* sql`TRUNCATE medipim.stage_products, medipim.stage_batches, medipim.sync_chunks`
  const stage = yield* ChunkStager
  const publish = yield* Publish
  const runId = yield* beginRun()
  const snapshotId = yield* snapshotOf(products(count))
  return {
    key: yield* damage(snapshotId, how),
    chunk: stage.chunk({ runId, snapshotId, offset: 0, limit: count }, () => Effect.void),
    published: publish.run({ runId, snapshotId, force: true })
  }
})

const { length } = right
/** As many lines, and no byte too many: only the hash tells. */
const others = textOf(products(inPart).map(({ id }) => ({ id })))
const broken: Record<string, readonly [Damage, RegExp]> = {
  "other lines, as many of them, in valid gzip": [{ stored: gzipSync(others) }, /its SHA-256 is not the one/],
  "a line too few": [known(gzipSync(textOf(products(6)))), /6 lines where 7 were written/],
  "a line too many": [known(gzipSync(textOf(products(8))), 2 * length), /8 lines where 7 were written/],
  "a last line without its end": [known(gzipSync(right.subarray(0, -1))), /6 lines where 7 were written/],
  "the beginning of one more line": [known(gzipSync(`${right}{"meta"`), 2 * length), /7 lines where 7 were written/],
  "a byte more than the manifest says": [known(gzipSync(right), length - 1), /it is larger than its manifest says/],
  "gzip that ends early": [known(gzipSync(right).subarray(0, -9)), /unexpected end of file/],
  "no gzip at all": [known(right), /incorrect header check/]
}

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A stored part", (it) => {
  it.effect("is read when it is what was written", () =>
    Effect.gen(function* () {
      const { chunk, published } = yield* begun(inPart, known(gzipSync(right)))
      assert.deepInclude((yield* chunk).counts, { records: 7, inserted: 7 })
      assert.deepStrictEqual(yield* written, { staged: 7, chunks: 1, products: 0 })
      assert.strictEqual((yield* published).counts.inserted, 7)
    })
  )

  for (const [what, [how, why]] of Object.entries(broken)) {
    it.effect(`brings nothing into the catalogue when it holds ${what}`, () =>
      Effect.gen(function* () {
        const { key, chunk, published } = yield* begun(inPart, how)
        const error = yield* Effect.flip(chunk)
        assert.deepInclude(error, { _tag: "SnapshotBroken", key })
        assert.match(error.message, why)
        assert.match(error.message, /^Snapshot object \S+ is broken: .*Sync again with forceRefresh\.$/)
        // Lines before the fault may wait in staging: without their chunk they count for nothing.
        assert.deepInclude(yield* written, { chunks: 0, products: 0 })
        assert.include((yield* Effect.flip(published)).message, "0 of 7 records were staged")
        assert.deepInclude(yield* written, { products: 0 })
      })
    )
  }

  it.effect("is not even opened when its hash is another one", () =>
    Effect.gen(function* () {
      const { chunk } = yield* begun(inPart, { stored: gzipSync(others) })
      yield* Effect.flip(chunk)
      assert.deepStrictEqual(yield* written, { staged: 0, chunks: 0, products: 0 })
    })
  )

  it.effect("spoils its chunk, however good the parts before it are", () =>
    Effect.gen(function* () {
      const { chunk, published } = yield* begun(3 * inPart, known(gzipSync(textOf(products(6)))))
      assert.strictEqual((yield* Effect.flip(chunk))._tag, "SnapshotBroken")
      assert.deepInclude(yield* written, { chunks: 0 })
      assert.include((yield* Effect.flip(published)).message, "0 of 21 records were staged")
    })
  )
})
