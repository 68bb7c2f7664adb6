import { assert, layer } from "@effect/vitest"
import type { Chunk } from "@medipim/domain/ChunkPlan"
import { planChunks, rangeOf } from "@medipim/domain/ChunkPlan"
import type { RunId } from "@medipim/domain/Ids"
import { random } from "@medipim/testing/Randomness"
import { Effect, Schema, Semaphore } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { beginRun, line, product, products, services, sync, unstorable, writeSnapshot } from "./Fixture.ts"

const size = 60
const largestChunk = 30
const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const isTwice = (n: number) => n % 4 === 1
/** Seconds by which the second line of a product is newer than its first: half of them are older. */
const newerBy = (n: number) => [-60, 60, -60, 0][(n >> 2) % 4] ?? 0
const changed = (n: number, price: number, updatedAt: number) =>
  product(n, { publicPrice: price, meta: { createdAt: 1_700_000_000 + n, updatedAt } })

/** Changed, new, unchanged and undecodable lines; some products come again, always in another chunk. */
const lines = Array.from({ length: size }, (_, n) => {
  const first = n - largestChunk
  if (first >= 0 && isTwice(first)) {
    return changed(first, 9000 + n, 1_800_000_000 + first + newerBy(first))
  }
  if (isTwice(n) || n % 3 === 0) return changed(n, 5000 + n, 1_800_000_000 + n)
  return n % 11 === 3 ? product(n, unstorable) : product(n)
}).map((source, index) => line(source, index, size))

/** Which of its lines counts, for each product that comes twice: the newest, and the later of two that are as new. */
const winners = Array.from({ length: largestChunk }, (_, n) => n)
  .filter(isTwice)
  .map((n) => [product(n).id, newerBy(n) < 0 ? n : n + largestChunk] as const)

/** The same in another order: one after the other is taken out of what is left, by these numbers. */
const shuffled = <A>(items: ReadonlyArray<A>, numbers: ReadonlyArray<number>): ReadonlyArray<A> => {
  const left = [...items]
  return items.flatMap((_, i) => left.splice((numbers[i % numbers.length] ?? 0) % left.length, 1))
}

/** All that a publish would go by, without the name of the run and the times. */
const staged = (runId: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    return {
      products: yield* sql<{ id: string; record: number }>`SELECT record, change, id, raw::text, content_hash, line_hash
        FROM medipim.stage_products WHERE run_id = ${runId} ORDER BY id`,
      ids: yield* sql`SELECT unnest(ids) AS id FROM medipim.stage_batches WHERE run_id = ${runId} ORDER BY id`,
      rejected: yield* sql`SELECT record, part, line_index, product_id, reason, raw
        FROM medipim.rejected_records WHERE run_id = ${runId} ORDER BY record`,
      chunks: yield* sql`SELECT first_record, records, inserted, updated, restored, unchanged, stale, rejected
        FROM medipim.sync_chunks WHERE run_id = ${runId} ORDER BY first_record`
    }
  })

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("Chunks", (it) => {
  it.effect.prop(
    "give the same staging in any order, at the same time and however often",
    {
      chunk: whole(5, largestChunk),
      again: Schema.Array(whole(0, 99)),
      order: Schema.Array(whole(0, 99)),
      atOnce: whole(1, 3)
    },
    ({ chunk, again, order, atOnce }) =>
      Effect.gen(function* () {
        yield* sync(products(30), { force: true })
        const snapshotId = yield* writeSnapshot(lines)
        const stage = yield* ChunkStager
        const plan = planChunks(rangeOf(size, 0, undefined), chunk)
        // One chunk twice at once is refused by `Jobs`; one after the other is allowed.
        const turns = new Map(plan.map((one) => [one, Semaphore.makeUnsafe(1)]))
        const stageChunks = (runId: RunId, chunks: ReadonlyArray<Chunk>, concurrency: number) =>
          Effect.forEach(
            chunks,
            (one) => {
              const staging = stage.chunk({ runId, snapshotId, ...one }, () => Effect.void)
              return turns.get(one)?.withPermit(staging) ?? staging
            },
            { concurrency, discard: true }
          )

        const straight = yield* beginRun()
        yield* stageChunks(straight, plan, 1)
        const wanted = yield* staged(straight)

        const mixed = yield* beginRun()
        const repeated = again.flatMap((n) => plan[n % plan.length] ?? [])
        yield* stageChunks(mixed, shuffled([...plan, ...repeated], order), atOnce)
        assert.deepStrictEqual(yield* staged(mixed), wanted)
        const records = new Map(wanted.products.map(({ id, record }) => [id, record]))
        for (const [id, record] of winners) assert.strictEqual(records.get(id), record)
        assert.isAbove(wanted.rejected.length, 0)
      }),
    { timeout: 300_000, ...random(5, 40) }
  )

  it.effect("remove what a run that was killed had staged", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const snapshotId = yield* writeSnapshot(lines)
      const stage = yield* ChunkStager
      const leftBy = (runId: RunId) =>
        sql<{ readonly products: number; readonly batches: number }>`SELECT
          (SELECT count(*)::int FROM medipim.stage_products WHERE run_id = ${runId}) AS products,
          (SELECT count(*)::int FROM medipim.stage_batches WHERE run_id = ${runId}) AS batches`
      const killed = yield* beginRun()
      yield* stage.chunk({ runId: killed, snapshotId, offset: 0, limit: 20 }, () => Effect.void)
      const [before] = yield* leftBy(killed)
      assert.isAbove(before?.products ?? 0, 0)
      assert.isAbove(before?.batches ?? 0, 0)
      yield* sql`UPDATE medipim.sync_runs SET status = 'failed' WHERE id = ${killed}`
      const next = yield* beginRun()
      yield* stage.chunk({ runId: next, snapshotId, offset: 0, limit: 20 }, () => Effect.void)
      assert.deepStrictEqual(yield* leftBy(killed), [{ products: 0, batches: 0 }])
      assert.isAbove((yield* leftBy(next))[0]?.products ?? 0, 0)
    })
  )
})
