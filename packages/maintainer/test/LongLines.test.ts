import { assert, layer } from "@effect/vitest"
import { longestLine } from "@medipim/domain/LineSplitter"
import { memoryOf } from "@medipim/local/Memory"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { Publish } from "../src/Publish.ts"
import { RejectedRecords } from "../src/RejectedRecords.ts"
import { Replay } from "../src/Replay.ts"
import { beginRun, empty, line, product, products, type RawPart, services, stageAll, writeParts } from "./Fixture.ts"

const total = 61
const at = 30
const filled = (bytes: number) => line(product(at, { padding: "x".repeat(bytes) }), at, total)
const others = products(total).map((one, n) => line(one, n, total))
const around = { before: Buffer.from(others.slice(0, at).join("")), after: Buffer.from(others.slice(at + 1).join("")) }

/** The line spread over parts: its beginning with what comes before it, some of it alone, its end with what follows. */
const spread = (long: Buffer, pieces: number): ReadonlyArray<RawPart> => {
  const size = Math.ceil(long.length / pieces)
  const cuts = Array.from({ length: pieces }, (_, n) => long.subarray(n * size, (n + 1) * size))
  return cuts.map((cut, n) => {
    const isFirst = n === 0
    const isLast = n === pieces - 1
    return {
      raw: Buffer.concat([...(isFirst ? [around.before] : []), cut, ...(isLast ? [around.after] : [])]),
      records: (isFirst ? at + 1 : 0) + (isLast ? total - at - 1 : 0),
      ...(isFirst ? {} : { continuedBytes: cut.length })
    }
  })
}

layer(services, { excludeTestServices: true, timeout: "120 seconds" })("A line over the limit", (it) => {
  for (const pieces of [1, 2, 5]) {
    it.effect(`is one rejected record among the others, in ${pieces} parts, whatever the chunks are`, () =>
      Effect.gen(function* () {
        const long = Buffer.from(filled(longestLine))
        const snapshotId = yield* writeParts(spread(long, pieces))
        for (const chunk of [total, at, at + 1, 7]) {
          yield* empty
          const runId = yield* beginRun()
          yield* stageAll(runId, snapshotId, chunk)
          const { counts } = yield* (yield* Publish).run({ runId, snapshotId, force: true })
          assert.deepInclude(counts, { records: total, inserted: total - 1, rejected: 1 }, `chunks of ${chunk}`)
          const { records } = yield* (yield* RejectedRecords).list({ runId })
          const [rejected] = records
          assert.deepInclude(rejected, { record: at, lineIndex: at, productId: product(at).id, bytes: long.length - 1 })
          assert.match(rejected?.reason ?? "", /^the line has \d+ bytes, more than 16777216/)
          assert.isTrue(long.toString().startsWith(rejected?.raw.slice(0, 60_000) ?? "?"))
          assert.isAtLeast(rejected?.raw.length ?? 0, 60_000)
        }
      })
    )
  }

  it.effect("is read whole when it is not longer than the limit, though its part ended within it", () =>
    Effect.gen(function* () {
      yield* empty
      const runId = yield* beginRun()
      const snapshotId = yield* writeParts(spread(Buffer.from(filled(100_000)), 3))
      yield* stageAll(runId, snapshotId, at + 1)
      const { counts } = yield* (yield* Publish).run({ runId, snapshotId })
      assert.deepInclude(counts, { records: total, inserted: total, rejected: 0 })
      const sql = yield* SqlClient
      assert.deepStrictEqual(
        yield* sql`SELECT length(raw ->> 'padding') AS n FROM public.products WHERE id = ${product(at).id}`,
        [{ n: 100_000 }]
      )
    })
  )

  it.effect("ends the reading at 256 MB, in little memory", () =>
    Effect.gen(function* () {
      const runId = yield* beginRun()
      // A gigabyte in valid gzip: its manifest fits.
      const raw = Buffer.concat([
        around.before,
        Buffer.from('{"meta":{"total":31,"index":30},"result":{"id":"'),
        Buffer.alloc(1 << 30, "x")
      ])
      const snapshotId = yield* writeParts([{ raw, records: at + 1 }])
      const staged = (yield* ChunkStager).chunk({ runId, snapshotId, offset: 0, limit: total }, () => Effect.void)
      const { result, megabytes } = yield* memoryOf(Effect.flip(staged))
      assert.deepInclude(result, { _tag: "SnapshotBroken" })
      assert.match(result.message, /a line has no end/)
      assert.isBelow(megabytes, 150)
    })
  )
})

layer(services, { excludeTestServices: true, timeout: "60 seconds" })(
  "A rejected line whose text was not kept",
  (it) => {
    it.effect("is read from its part when it is replayed", () =>
      Effect.gen(function* () {
        yield* empty
        const runId = yield* beginRun()
        const snapshotId = yield* writeParts(spread(Buffer.from(filled(1000)), 2))
        yield* stageAll(runId, snapshotId)
        yield* (yield* Publish).run({ runId, snapshotId })
        const sql = yield* SqlClient
        // As if two lines had been rejected beyond the number whose text is kept, by rules that could not read them yet.
        for (const [record, part] of [
          [5, 0],
          [at, 0]
        ] as const) {
          yield* sql`DELETE FROM public.products WHERE id = ${product(record).id}`
          yield* sql`INSERT INTO medipim.rejected_records
          (run_id, record, snapshot_id, part, line_index, product_id, reason, raw, line_bytes)
          VALUES (${runId}, ${record}, ${snapshotId}, ${`part ${part}`}, ${record}, ${product(record).id}, 'test', '', 100)`
        }
        yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded' WHERE id = ${runId}`
        const { replayed, counts } = yield* (yield* Replay).run({})
        assert.strictEqual(replayed, 2)
        assert.deepInclude(counts, { inserted: 2 })
      })
    )

    it.effect("is one of more than a run may have: the others have their text", () =>
      Effect.gen(function* () {
        yield* empty
        const runId = yield* beginRun()
        const lines = Array.from(
          { length: 300 },
          (_, n) => `{"meta":{"total":300,"index":${n}},"result":{"id":"M${n}",oops}}\n`
        )
        const snapshotId = yield* writeParts([{ raw: Buffer.from(lines.join("")), records: 300 }])
        yield* stageAll(runId, snapshotId, 300)
        const sql = yield* SqlClient
        const [kept] = yield* sql`SELECT count(*)::int AS n, count(*) FILTER (WHERE length(raw) > 0)::int AS texts,
        count(*) FILTER (WHERE line_bytes > 40)::int AS measured
        FROM medipim.rejected_records WHERE run_id = ${runId}`
        assert.deepStrictEqual(kept, { n: 300, texts: 100, measured: 300 })
      })
    )
  }
)
