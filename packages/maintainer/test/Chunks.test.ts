import { assert, layer } from "@effect/vitest"
import type { Chunk } from "@medipim/domain/ChunkPlan"
import { planChunks, rangeOf } from "@medipim/domain/ChunkPlan"
import type { RunId } from "@medipim/domain/Ids"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Stage } from "../src/Stage.ts"
import { beginRun, line, product, products, services, sync, writeSnapshot } from "./Fixture.ts"

const size = 47
const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Changed, new, unchanged and undecodable lines, and some products twice. */
const lines = Array.from({ length: size }, (_, n) => {
  const later = { createdAt: 1_700_000_000 + n, updatedAt: 1_800_000_000 + n }
  if (n % 11 === 3) return product(n, { publicPrice: "free" })
  if (n % 13 === 5) return product(n - 1, { publicPrice: 9000 + n, meta: later })
  return n % 3 === 0 ? product(n, { publicPrice: 5000 + n, meta: later }) : product(n)
}).map((source, index) => line(source, index, size))

/** All that a publish would go by, without the name of the run and the times. */
const staged = (runId: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    return {
      products: yield* sql`SELECT record, change, id, raw::text, content_hash, line_hash
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
    { chunk: whole(5, 30), order: Schema.Array(whole(0, 99)), atOnce: whole(1, 3) },
    ({ chunk, order, atOnce }) =>
      Effect.gen(function* () {
        yield* sync(products(30), { force: true })
        const snapshotId = yield* writeSnapshot(lines)
        const stage = yield* Stage
        const plan = planChunks(rangeOf(size, 0, undefined), chunk)
        const stageChunks = (runId: RunId, chunks: ReadonlyArray<Chunk>, concurrency: number) =>
          Effect.forEach(
            chunks,
            ({ offset, limit }) => stage.chunk({ runId, snapshotId, offset, limit }, () => Effect.void),
            { concurrency, discard: true }
          )

        const straight = yield* beginRun()
        yield* stageChunks(straight, plan, 1)
        const wanted = yield* staged(straight)

        const mixed = yield* beginRun()
        const drawn = order.flatMap((n) => plan[n % plan.length] ?? [])
        // One chunk twice at once is refused by `Jobs`; one after the other is allowed.
        for (const one of drawn) yield* stageChunks(mixed, [one], 1)
        yield* stageChunks(mixed, plan.toReversed(), atOnce)
        assert.deepStrictEqual(yield* staged(mixed), wanted)
        assert.isAbove(wanted.products.length, 0)
        assert.isAbove(wanted.rejected.length, 0)
      }),
    { timeout: 300_000, arbitrary: { runs: 40 } }
  )
})
