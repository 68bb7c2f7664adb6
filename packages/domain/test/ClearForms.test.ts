import { assert, describe, it } from "@effect/vitest"
import { sourceColumns } from "@medipim/domain/ProductColumns"
import { columnsOf, decoded, fields, isNothing, type Json, resultWith } from "./FormsFixture.ts"

/** Ways to wrap a value that leave it the only thing that is said. */
const wrappings: Readonly<Record<string, (value: Json) => Json>> = {
  "as it is": (value) => value,
  "a list of one": (value) => [value],
  "an object with the key 0": (value) => ({ "0": value }),
  "an object with another place": (value) => (typeof value === "string" ? { "1": value } : { "0": value, "1": null }),
  "a list with nothings": (value) => [null, value, "", []],
  "a list that says it twice": (value) => (typeof value === "object" ? [value] : [value, value])
}

/** For each kind of column, values with what they mean. */
const meanings: Readonly<
  Record<string, { readonly fields: ReadonlyArray<string>; readonly values: ReadonlyArray<readonly [Json, unknown]> }>
> = {
  text: {
    fields: [
      "status",
      "replacement",
      "fred",
      "zCode",
      "snomedMp",
      "supplierReference",
      "hsCode",
      "conservation",
      "artgId",
      "pbs"
    ],
    values: [
      ["active", "active"],
      [" padded ", "padded"],
      [240904, "240904"],
      [{ en: "active" }, "active"],
      [12.5, "12.5"]
    ]
  },
  localised: {
    fields: ["name", "seoName"],
    values: [
      [{ en: "Name" }, "Name"],
      [{ fr: "Nom", en: "Name" }, "Name"],
      [{ en: "", fr: "Nom" }, "Nom"],
      [{ "en-AU": "Name" }, "Name"],
      [{ en: "Name", zh: "x", pt: "" }, "Name"],
      [{ fr: "Nom", en_AU: "Name" }, "Name"],
      [{ "en-GB": "Nom", en: "Name" }, "Name"],
      [{ "fr-BE": "", de: "Name" }, "Name"],
      ["Name", "Name"],
      [{ en: ["Name"] }, "Name"]
    ]
  },
  gtin13: {
    fields: ["eanGtin13"],
    values: [
      ["9300000000011", "9300000000011"],
      [93_000_000_011, "0093000000011"],
      ["12345", "12345"]
    ]
  },
  cents: {
    fields: ["publicPrice", "manufacturerPrice", "pharmacistPrice"],
    values: [
      [1495, 1495],
      ["1495", 1495],
      ["1495.00", 1495],
      [1495.0, 1495],
      [0, 0],
      ["0", 0],
      [" 7 ", 7]
    ]
  },
  percent: {
    fields: ["vat"],
    values: [
      [10, "10"],
      [10.5, "10.5"],
      ["12.50", "12.5"],
      ["0", "0"]
    ]
  },
  flag: {
    fields: ["requiresLegalText", "biocide"],
    values: [
      [true, true],
      [1, true],
      ["true", true],
      ["1", true],
      [0, false],
      ["false", false]
    ]
  },
  time: {
    fields: ["officialDeletionAt", "meta.createdAt", "meta.updatedAt"],
    values: [
      [1_700_000_000, "2023-11-14T22:13:20.000Z"],
      ["1700000000", "2023-11-14T22:13:20.000Z"]
    ]
  },
  code: {
    fields: ["gs1Category"],
    values: [
      ["10000002", "10000002"],
      [{ code: "10000002", title: "x" }, "10000002"],
      [{ code: 10000002 }, "10000002"]
    ]
  }
}

describe("A value that is clear", () => {
  for (const [kind, { fields, values }] of Object.entries(meanings)) {
    for (const [how, wrap] of Object.entries(wrappings)) {
      it(`is read as ${kind}: ${how}`, () => {
        for (const field of fields) {
          const [column = "status"] = columnsOf(field)
          for (const [value, meaning] of values) {
            // Of a flag in a list, 0 and false are values too.
            const { row, unknown } = decoded(resultWith(field, wrap(value)))
            assert.deepStrictEqual([row[column], unknown], [meaning, []], `${field}: ${JSON.stringify(wrap(value))}`)
          }
        }
      })
    }
  }

  it("is the code of the only thing of an object by codes", () => {
    const brick = { "10000002": { code: "10000002", title: "x" } }
    assert.strictEqual(decoded({ gs1Category: brick }).row.gs1_category, "10000002")
    assert.deepStrictEqual(decoded({ gs1Category: { ...brick, "10000003": { code: "10000003" } } }).unknown, [
      "gs1_category"
    ])
  })

  it("is nothing when it says nothing, and false is a value of a flag alone", () => {
    const nothings: ReadonlyArray<Json> = [null, "", " ", [], {}, false, [null], ["", []], { en: "" }, { "0": null }]
    for (const field of fields) {
      for (const value of nothings) {
        const { row, unknown } = decoded(resultWith(field, value))
        assert.deepStrictEqual(unknown, [], `${field}: ${JSON.stringify(value)}`)
        for (const column of columnsOf(field)) {
          const isFlag = sourceColumns[column].type === "boolean"
          if (isFlag && value === false) assert.isFalse(row[column])
          else assert.isTrue(isNothing(row[column]), `${column}: ${JSON.stringify(value)}`)
        }
      }
    }
    for (const biocide of [[false], [false, false], [null, false], { "0": false }] as ReadonlyArray<Json>)
      assert.isFalse(decoded({ biocide }).row.biocide)
    assert.deepStrictEqual(decoded({}).unknown, [])
  })

  it("may be a list of codes in any of its forms", () => {
    for (const value of [
      ["1", "2"],
      { "0": "1", "2": "2" },
      [1, 2],
      ["1", null, "2"],
      [["1"], 2]
    ] as ReadonlyArray<Json>) {
      const { row, unknown } = decoded({ ean: value })
      if (unknown.length === 0) assert.deepStrictEqual(row.ean, ["1", "2"], JSON.stringify(value))
      else assert.deepStrictEqual([unknown, row.ean], [["ean"], []], JSON.stringify(value))
    }
    assert.deepStrictEqual(decoded({ ean: { "0": "1", "2": "2" } }).row.ean, ["1", "2"])
    assert.deepStrictEqual(decoded({ ean: "00012" }).row.ean, ["00012"])
    // What a filter leaves: the index of the first may be any.
    assert.deepStrictEqual(decoded({ ean: { "3": "9300000000011" } }).row.ean, ["9300000000011"])
    assert.deepStrictEqual(decoded({ ean: { "1": 9_300_000_000_011 } }).row.ean, ["9300000000011"])
  })
})

describe("Things with an id and a name", () => {
  const entityFields = { organizations: ["organization", "organization_ids"], brands: ["brand", "brand_ids"] } as const
  const five = { id: 5, name: "Five" }
  const six = { id: 6, name: { en: "Six" } }
  const forms: ReadonlyArray<
    readonly [what: string, value: Json, name: string | null | "unknown", ids: ReadonlyArray<number> | "unknown"]
  > = [
    ["a list", [five, six], "Five", [5, 6]],
    ["PHP's form of a filtered list", { "0": five, "2": six }, "Five", [5, 6]],
    ["a single one", five, "Five", [5]],
    ["an id as text", [{ id: "5", name: "Five" }], "Five", [5]],
    ["a list with nothings", [null, five, [], six], "Five", [5, 6]],
    ["a first one whose name is said to be none", [{ id: 5, name: null }, six], "Six", [5, 6]],
    ["numbers in place of things", [5, 6], "unknown", [5, 6]],
    ["names in place of things", ["Five", "Six"], "Five", "unknown"],
    ["a list inside an object", { items: [five] }, "unknown", "unknown"],
    ["a renamed name", [{ id: 5, title: "Five" }], "unknown", [5]],
    ["a renamed id", [{ organizationId: 5, name: "Five" }], "Five", "unknown"],
    ["an id beyond 32 bits", [{ id: 3_000_000_000, name: "Five" }], "Five", "unknown"],
    ["a name that is no text", [{ id: 5, name: { value: "Five" } }], "unknown", [5]],
    ["figures that may be ids or names", ["4711"], "unknown", "unknown"],
    ["a map from id to name and nothing else", { "5": { name: "Five" } }, "Five", "unknown"],
    ["a map from id to thing", { "5": five, "4711": six }, "Five", [5, 6]],
    ["a map from id to a number", { "8": 1, "9": 2 }, "unknown", "unknown"],
    ["a map from small ids to a number", { "1": 7, "2": 3 }, "unknown", "unknown"],
    ["a map from id to true", { "8": true }, "unknown", "unknown"],
    ["a map from id to nothing", { "8": null, "9": [] }, "unknown", "unknown"],
    ["a map from id to text", { "4711": "Five" }, "unknown", "unknown"],
    ["a map of which one entry is no thing", { "5": five, "6": null }, "unknown", "unknown"]
  ]
  for (const [what, value, name, ids] of forms) {
    it(`may be ${what}, or are named`, () => {
      for (const [field, [nameColumn, idsColumn]] of Object.entries(entityFields)) {
        const { row, unknown } = decoded({ [field]: value })
        assert.strictEqual(row[nameColumn], name === "unknown" ? null : name)
        assert.deepStrictEqual(row[idsColumn], ids === "unknown" ? [] : ids)
        const named = [...(name === "unknown" ? [nameColumn] : []), ...(ids === "unknown" ? [idsColumn] : [])]
        assert.deepStrictEqual(unknown, named)
      }
    })
  }
})

describe("A value that is nested deeply", () => {
  it("is looked through once, not once for every level", () => {
    let value: Json = 1
    for (let level = 0; level < 45; level++) value = { "9": { id: value } }
    // 2 to the power of 45 looks would not end.
    assert.deepStrictEqual(decoded({ brands: value, ean: value }).unknown, ["ean", "brand", "brand_ids"])
  })
})

describe("A value that is not clear", () => {
  it.each<[string, Json]>([
    ["publicPrice", 12.5],
    ["publicPrice", "12.50"],
    ["publicPrice", "free"],
    ["publicPrice", "1e3"],
    ["publicPrice", "0x1f"],
    ["publicPrice", 3_000_000_000],
    ["publicPrice", [1, 2]],
    ["publicPrice", true],
    ["vat", "10 %"],
    ["eanGtin13", ["1", "2"]],
    ["eanGtin13", 1.5],
    ["artgId", "x".repeat(201)],
    ["ean", [{ code: "1" }]],
    ["status", { a: 1 }],
    ["status", true],
    ["vat", "1".repeat(41)],
    ["vat", `0.${"1".repeat(100_000)}`],
    ["name", { value: "Name", unit: "x" }],
    ["name", { id: 5 }],
    ["name", { en: "Name", id: 5 }],
    ["name", { en: "Name", unit: "x" }],
    ["biocide", [true, false]],
    ["gs1Category", { "10000002": { name: "Brick", code: "" } }],
    ["ean", { "1": "9300000000011", "240904": "9300000000028" }],
    ["ean", { "3": 7 }],
    ["name", { mg: 500, ml: 5 }],
    ["name", { en: 500 }],
    ["artgId", { id: 240904 }],
    ["artgId", { "240904": "Panadol" }],
    ["artgId", { "240904": { en: "Panadol" } }],
    ["ean", { "9300000000011": "primary" }],
    ["ean", { "9300000000011": null }],
    ["ean", { "9300000000011": true, "9300000000028": false }],
    ["eanGtin13", { "9300000000011": "" }],
    ["gs1Category", { "10000002": { title: "Brick" } }],
    ["publicPrice", { "25": 1495 }],
    ["vat", { "1": 10 }],
    ["biocide", { "8": true }],
    ["biocide", { "8": false }],
    ["meta.createdAt", { "7": 1_700_000_000 }],
    ["name", [{ locale: "en", value: "Name" }]],
    ["biocide", "yes"],
    ["officialDeletionAt", "2026-01-01"],
    ["officialDeletionAt", 1_700_000_000_000],
    ["gs1Category", { title: "Brick" }],
    ["meta.updatedAt", "yesterday"]
  ])("names %s: %j", (field, value) => {
    const { row, unknown } = decoded(resultWith(field, value))
    const [column = "status"] = columnsOf(field)
    assert.deepStrictEqual(unknown, [column])
    assert.isTrue(isNothing(row[column]))
    assert.notDeepEqual(JSON.parse(row.raw), { id: "M1" })
  })
  it("names both times of a meta that is no object", () => {
    for (const meta of [
      "x",
      7,
      true,
      [1, 2],
      [{ createdAt: 1 }, { createdAt: 2 }],
      { "7": { createdAt: 1 } }
    ] as ReadonlyArray<Json>) {
      assert.deepStrictEqual(decoded({ meta }).unknown, ["medipim_created_at", "medipim_updated_at"])
    }
    for (const meta of [null, [], {}, "", false] as ReadonlyArray<Json>)
      assert.deepStrictEqual(decoded({ meta }).unknown, [])
    assert.strictEqual(decoded({ meta: [{ createdAt: 7 }] }).row.medipim_created_at, "1970-01-01T00:00:07.000Z")
  })
})
