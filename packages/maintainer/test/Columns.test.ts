import { isDeepStrictEqual } from "node:util"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { empty, product, products, services, sync } from "./Fixture.ts"

/** A product with a value for every column, another one for every `n`. */
const full = (n: number) => {
  const code = String(1000 + n)
  const thing = { id: n, name: { en: `Thing ${n}` } }
  return product(1, {
    status: `status ${n}`,
    replacement: `M00000000${n}`,
    name: { en: `Name ${n}` },
    seoName: { en: `name-${n}` },
    artgId: code,
    pbs: code,
    fred: code,
    zCode: code,
    snomedMp: code,
    snomedMpp: code,
    snomedMpuu: code,
    snomedTp: code,
    snomedTpp: code,
    snomedTpuu: code,
    snomedCtpp: code,
    supplierReference: code,
    hsCode: code,
    ean: [code],
    eanGtin8: code,
    eanGtin12: code,
    eanGtin13: code,
    eanGtin14: code,
    organizations: [thing],
    brands: [thing],
    publicCategories: [thing],
    productFamilies: [thing],
    gs1Category: { code },
    publicPrice: 100 + n,
    manufacturerPrice: 200 + n,
    pharmacistPrice: 300 + n,
    vat: n,
    requiresLegalText: n % 2 === 0,
    biocide: n % 2 === 0,
    conservation: `conservation ${n}`,
    officialDeletionAt: 1_900_000_000 + n,
    meta: { createdAt: 1_700_000_000 + n, updatedAt: 1_800_000_000 + n }
  })
}

/** The row as the source makes it: without when and by which run it was written. */
const row = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [found] = yield* sql<Record<string, unknown>>`SELECT * FROM public.products WHERE id = ${full(1).id}`
  const { first_seen_at: _first, changed_at: _changed, last_run_id: _run, ...columns } = found ?? {}
  return columns
})

const others = products(40).filter(({ id }) => id !== full(1).id)
/** The row of a product that was never there before. */
const fresh = (n: number) => Effect.andThen(empty, Effect.andThen(sync([...others, full(n)]), row))

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A row in every column", (it) => {
  it.effect("is, when it was updated, what a first load makes of the same line", () =>
    Effect.gen(function* () {
      const second = yield* fresh(2)
      const first = yield* fresh(1)
      // What is alike in both would not show whether it was written.
      const alike = Object.keys(second).filter((column) => isDeepStrictEqual(first[column], second[column]))
      assert.sameMembers(alike, ["id", "removed_at"])
      assert.strictEqual((yield* sync([...others, full(2)])).counts.updated, 1)
      assert.deepStrictEqual(yield* row, second)
    })
  )

  it.effect("is so too when the product came back", () =>
    Effect.gen(function* () {
      const second = yield* fresh(2)
      const first = yield* fresh(1)
      assert.strictEqual((yield* sync(others)).counts.removed, 1)
      const { removed_at, ...left } = yield* row
      assert.instanceOf(removed_at, Date)
      assert.deepStrictEqual({ ...left, removed_at: null }, first)
      assert.strictEqual((yield* sync([...others, full(2)])).counts.restored, 1)
      assert.deepStrictEqual(yield* row, second)
    })
  )
})
