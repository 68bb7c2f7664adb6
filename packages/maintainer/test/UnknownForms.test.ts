import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import {
  beginRun,
  empty,
  line,
  product,
  products,
  type Source,
  services,
  stageAll,
  sync,
  writeSnapshot
} from "./Fixture.ts"

const rowOf = (id: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(sql<Record<string, unknown>>`SELECT * FROM public.products WHERE id = ${id}`, ([row]) => row)
  )

/** A catalogue in which this product is another one. */
const withProduct = (n: number, more: Record<string, unknown>, count = 200): ReadonlyArray<Source> =>
  products(count).map((one, place) => (place === n ? { ...one, ...more } : one))

const refusal = (sources: ReadonlyArray<unknown>) =>
  Effect.map(Effect.flip(sync(sources)), (error) => {
    assert.strictEqual(error._tag, "PublishRefused")
    return error._tag === "PublishRefused" ? { reason: error.reason, message: error.message } : undefined
  })

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A field in an unknown shape", (it) => {
  const full = {
    organizations: [{ id: 5, name: "Five" }],
    brands: [{ id: 7, name: "Seven" }],
    publicCategories: [{ id: 8, name: { en: "Eight" } }],
    eanGtin13: "9300000000011",
    ean: ["9300000000011"],
    artgId: "240904",
    publicPrice: 1495
  }
  const odd = {
    organizations: { items: [{ id: 6, name: "Six" }] },
    brands: [{ brandId: 9, title: "Nine" }],
    publicCategories: [{ id: 8 }, "Eight"],
    eanGtin13: ["1", "2"],
    ean: [{ code: "3" }],
    artgId: { a: 1 },
    publicPrice: 12.5
  }

  it.effect("keeps what is stored, and the product keeps its other columns", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(withProduct(4, full))
      const before = yield* rowOf(product(4).id)
      const { counts, warnings } = yield* sync(withProduct(4, { ...odd, name: { en: "A new name" } }))
      assert.deepInclude(counts, { updated: 1, rejected: 0, unchanged: 199 })
      const row = yield* rowOf(product(4).id)
      const kept = [
        "organization",
        "organization_ids",
        "brand",
        "brand_ids",
        "public_category_ids",
        "ean_gtin13",
        "ean"
      ]
      for (const column of [...kept, "artg_id", "public_price_cents"]) {
        assert.deepStrictEqual(row?.[column], before?.[column], column)
      }
      assert.deepInclude(row, { name: "A new name", line_hash: null })
      assert.deepInclude(row?.raw, odd)
      assert.strictEqual(warnings.length, Object.keys(odd).length)
      for (const field of Object.keys(odd)) {
        const named = `${field} came in an unknown shape for 1 products (for example ${product(4).id})`
        assert.isTrue(
          warnings.some((warning) => warning.startsWith(named)),
          field
        )
      }
    })
  )

  it.effect("is looked at and named every night, and understood as soon as the source mends it", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(withProduct(4, full))
      for (const night of [1, 2, 3]) {
        const { counts, warnings } = yield* sync(withProduct(4, { ...full, artgId: odd.artgId }))
        assert.deepInclude(counts, night === 1 ? { updated: 1 } : { updated: 0, unchanged: 200 })
        assert.strictEqual(warnings.length, 1, `night ${night}`)
      }
      const { warnings } = yield* sync(withProduct(4, { ...full, artgId: "777" }))
      assert.deepStrictEqual(warnings, [])
      const row = yield* rowOf(product(4).id)
      assert.deepInclude(row, { artg_id: "777" })
      assert.isNotNull(row?.line_hash)
    })
  )

  it.effect("is empty in a product that is new, and what was stored in one that comes back", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(withProduct(4, full))
      yield* sync(products(200).filter((_, n) => n !== 4))
      const back = yield* sync([...withProduct(4, odd), { ...product(300), ...odd }])
      assert.deepInclude(back.counts, { restored: 1, inserted: 1 })
      assert.deepInclude(yield* rowOf(product(4).id), { organization: "Five", artg_id: "240904", removed_at: null })
      assert.deepInclude(yield* rowOf(product(300).id), {
        organization: null,
        organization_ids: [],
        ean: [],
        artg_id: null
      })
    })
  )

  it.effect("stops the publish in more than one product of a hundred, and names the field and both ways on", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(200))
      const many = products(200).map((one, n) => (n < 3 ? { ...one, zCode: { a: 1 } } : one))
      const refused = yield* refusal(many)
      assert.strictEqual(refused?.reason, "unknown-shape")
      assert.match(refused?.message ?? "", /zCode of 3 products \(for example M00000000\d\).*TOLERATED_FIELDS=zCode/)
      assert.deepInclude((yield* sync(many, { force: true })).counts, { updated: 3 })
      // Of a field that the maintainer tolerates, any number may be odd; it is named all the same.
      const tolerated = yield* sync(products(200).map((one) => ({ ...one, fred: { a: 1 } })))
      assert.deepInclude(tolerated.counts, { updated: 200 })
      assert.match(tolerated.warnings.join(), /fred came in an unknown shape for 200 products/)
    })
  )

  it.effect("is no reason to reject a line: forms of public bug reports pass, in every product", () =>
    Effect.gen(function* () {
      yield* empty
      const php = { "0": { id: 5, name: "Five" }, "2": { id: 6, name: "Six" } }
      const forms = {
        organizations: php,
        brands: php,
        publicCategories: php,
        productFamilies: php,
        eanGtin13: ["9300000000011"],
        eanGtin14: ["09300000000011"],
        artgId: ["240904"],
        pbs: ["9999Z"],
        zCode: false,
        publicPrice: "1495.00"
      }
      const { counts, warnings } = yield* sync(products(50).map((one) => ({ ...one, ...forms })))
      assert.deepInclude(counts, { inserted: 50, rejected: 0 })
      assert.deepStrictEqual(warnings, [])
      assert.deepInclude(yield* rowOf(product(7).id), {
        organization: "Five",
        organization_ids: [5, 6],
        brand_ids: [5, 6],
        public_category_ids: [5, 6],
        product_family_ids: [5, 6],
        ean_gtin13: "9300000000011",
        artg_id: "240904",
        pbs: "9999Z",
        z_code: null,
        public_price_cents: 1495
      })
    })
  )
})

layer(services, { excludeTestServices: true, timeout: "60 seconds" })(
  "A field that vanishes from many products",
  (it) => {
    const branded = products(100).map((one) => ({ ...one, brands: [{ id: 7, name: "Seven" }], fred: "F1" }))

    it.effect("stops the publish: most likely it was renamed", () =>
      Effect.gen(function* () {
        yield* empty
        yield* sync(branded)
        const renamed = branded.map(({ brands, ...one }) => ({ ...one, brand: brands }))
        const refused = yield* refusal(renamed)
        assert.strictEqual(refused?.reason, "values-lost")
        assert.match(refused?.message ?? "", /brands of 100 of 100 products .* would lose its value.*renamed/)
        assert.deepInclude(yield* rowOf(product(3).id), { brand: "Seven" })
        const { counts, warnings } = yield* sync(renamed, { force: true })
        assert.deepInclude(counts, { updated: 100 })
        assert.deepStrictEqual(warnings, ["brands lost its value in 100 of 100 products (for example M000000000)."])
        assert.deepInclude(yield* rowOf(product(3).id), { brand: null, brand_ids: [] })
      })
    )

    it.effect("passes when it is tolerated, and when few products lose it, and is named all the same", () =>
      Effect.gen(function* () {
        yield* empty
        yield* sync(branded)
        const tolerated = yield* sync(branded.map(({ fred: _gone, ...one }) => one))
        assert.deepInclude(yield* rowOf(product(3).id), { fred: null, brand: "Seven" })
        assert.deepStrictEqual(tolerated.warnings, [
          "fred lost its value in 100 of 100 products (for example M000000000)."
        ])
        const without = (count: number) =>
          branded.map(({ brands, ...one }, n) => (n < count ? one : { ...one, brands }))
        assert.deepStrictEqual((yield* sync(without(5))).warnings, [])
        assert.deepInclude(yield* rowOf(product(3).id), { brand: null })
        const { warnings } = yield* sync(without(19))
        assert.include(warnings, "brands lost its value in 14 of 95 products (for example M000000005).")
      })
    )

    it.effect("is not hidden by new products that have it", () =>
      Effect.gen(function* () {
        yield* empty
        yield* sync(branded)
        const added = products(130)
          .slice(100)
          .map((one) => ({ ...one, brands: [{ id: 7, name: "Seven" }] }))
        const { warnings } = yield* sync([
          ...branded.map(({ brands, ...one }, n) => (n < 30 ? one : { ...one, brands })),
          ...added
        ])
        assert.include(warnings, "brands lost its value in 30 of 100 products (for example M000000000).")
      })
    )

    it.effect("is not one that other products gain as they change: a catalogue may be changed as a whole", () =>
      Effect.gen(function* () {
        yield* empty
        const without = ({ brands: _gone, ...one }: (typeof branded)[number]) => one
        yield* sync(branded.map((one, n) => (n < 60 ? one : without(one))))
        const { counts } = yield* sync(branded.map((one, n) => (n < 60 ? without(one) : one)))
        assert.deepInclude(counts, { updated: 100 })
      })
    )
  }
)

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A number", (it) => {
  it.effect("is stored with all of its digits, and one that Postgres has no room for is rejected alone", () =>
    Effect.gen(function* () {
      yield* empty
      const numbers = [
        "0.123456789012345678901234567891",
        "123456789012345678901234567890",
        "1e400",
        "1e-400",
        "12.50",
        "-0"
      ]
      const tooLarge = ["1e131073", "1e-16384", "1e99999999999"]
      const texts = [...numbers, ...tooLarge]
      const lines = texts.map((text, n) => line(product(n, { x: "X" }), n, texts.length).replace('"X"', text))
      const runId = yield* beginRun()
      const snapshotId = yield* writeSnapshot(lines)
      yield* stageAll(runId, snapshotId)
      const { counts } = yield* (yield* Publish).run({ runId, snapshotId, force: true })
      assert.deepInclude(counts, { inserted: numbers.length, rejected: tooLarge.length })
      const sql = yield* SqlClient
      const [equal] = yield* sql`SELECT bool_and((p.raw -> 'x')::numeric = n.value::numeric) AS all
        FROM unnest(${numbers}::text[]) WITH ORDINALITY AS n(value, place)
        JOIN public.products AS p ON p.id = 'M' || lpad((n.place - 1)::text, 9, '0')`
      assert.deepStrictEqual(equal, { all: true })
      const [first] = yield* sql`SELECT raw ->> 'x' AS x FROM public.products WHERE id = ${product(0).id}`
      assert.deepStrictEqual(first, { x: numbers[0] })
    })
  )
})
