import { randomInt } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { RejectedRecords } from "../src/RejectedRecords.ts"
import { product, products, services, sync } from "./Fixture.ts"

/** Characters of four bytes that no compression makes shorter. */
const noise = (length: number): string =>
  Array.from({ length: length / 2 }, () => String.fromCodePoint(randomInt(0x20000, 0x2a6df))).join("")

const keys = ["artgId", "pbs", "eanGtin14", "ean"] as const

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("What products are looked up by", (it) => {
  it.effect(
    "may be as long as an index takes; a longer one is a value in an unknown shape, and a longer id no id",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const longest = keys.map((key, n) => product(n, { [key]: noise(200) }))
        const tooLong = keys.map((key, n) => product(100 + n, { [key]: noise(6000) }))
        const others = [...longest, product(10, { id: noise(200) }), ...products(300).slice(20, 100)]
        const lines = [...others, ...tooLong, product(110, { id: noise(6000) })]
        const { counts, warnings } = yield* sync(lines, { force: true })
        assert.deepInclude(counts, { inserted: others.length + keys.length, rejected: 1 })
        for (const [n, key] of keys.entries()) {
          const named = `${key} came in an unknown shape for 1 products (for example ${product(100 + n).id})`
          assert.isTrue(
            warnings.some((warning) => warning.startsWith(named)),
            key
          )
        }
        const stored = yield* sql`SELECT artg_id, pbs, ean_gtin14, ean, length(raw ->> 'artgId') > 2000 AS kept
        FROM public.products WHERE id = ${product(100).id}`
        assert.deepStrictEqual(stored, [{ artg_id: null, pbs: null, ean_gtin14: null, ean: [], kept: true }])
        const { records } = yield* (yield* RejectedRecords).list({})
        assert.deepStrictEqual(
          records.map(({ reason }) => reason),
          ["the id of the product is longer than 200 characters"]
        )
      })
  )
})
