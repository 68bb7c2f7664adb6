import { randomInt } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Quarantine } from "../src/Quarantine.ts"
import { product, products, services, sync } from "./Fixture.ts"

/** Characters of four bytes that no compression makes shorter. */
const noise = (length: number): string =>
  Array.from({ length: length / 2 }, () => String.fromCodePoint(randomInt(0x20000, 0x2a6df))).join("")

const keys = ["artgId", "pbs", "eanGtin14", "ean"] as const

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("What products are looked up by", (it) => {
  it.effect("may be as long as an index takes, and a line in which it is longer is rejected alone", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const longest = keys.map((key, n) => product(n, { [key]: noise(200) }))
      const tooLong = keys.map((key, n) => product(100 + n, { [key]: noise(6000) }))
      const others = [...longest, product(10, { id: noise(200) }), ...products(300).slice(20, 100)]
      const { counts } = yield* sync([...others, ...tooLong, product(110, { id: noise(6000) })], { force: true })
      assert.deepInclude(counts, { inserted: others.length, rejected: keys.length + 1 })
      const [stored] = yield* sql`SELECT count(*)::int AS n FROM public.products`
      assert.deepStrictEqual(stored, { n: others.length })
      const { records } = yield* (yield* Quarantine).list({})
      for (const [n, key] of [...keys, "id"].entries()) {
        assert.match(records[n]?.reason ?? "", new RegExp(`at most 200 .*"${key}"`), key)
      }
    })
  )
})
