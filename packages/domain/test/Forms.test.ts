import { assert, describe, it } from "@effect/vitest"
import type { SourceColumn } from "@medipim/domain/ProductColumns"
import { random } from "@medipim/testing/Randomness"
import { Schema } from "effect"
import { columns, columnsOf, decoded, fields, isNothing, type Json, resultWith } from "./FormsFixture.ts"

/**
 * Forms in which a value may come, drawn from a grammar: what it means, and how it is wrapped. The oracle is written from
 * the rules, not from the code: whatever comes, the column holds the value or its field is named. Never is there silence.
 */

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Keys of which none is a place in a list of three. */
const codes = ["7", "10", "240904", "10000002", "00012", "9300000000011"]
/** A list with more gaps than entries is none: its numbers are codes, and a part of what it says. */
const isByNumber = (value: Json): boolean => {
  if (!isObject(value)) return false
  const keys = Object.keys(value)
  const areNumbers = keys.length > 0 && keys.every((key) => /^\d+$/.test(key))
  return areNumbers && keys.some((key) => codes.includes(key) || Number(key) >= 2 * keys.length)
}

/** All that a value says: its scalars at any depth, and codes in the place of keys. `false`, blank text and null say nothing. */
const said = (value: Json): ReadonlyArray<string | number | boolean> => {
  if (value === null || value === false) return []
  if (typeof value === "string") return value.trim() === "" ? [] : [value.trim()]
  if (typeof value !== "object") return [value]
  return [...(isByNumber(value) ? Object.keys(value) : []), ...Object.values(value).flatMap(said)]
}

const isThing = (value: Json): boolean =>
  isObject(value) && ["id", "code", "name"].some((key) => said(value[key] ?? null).length > 0)

/** An object by codes whose entries do not tell by themselves what they are, unless it is a further member of a thing. */
const isUnclear = (value: Json): boolean => {
  if (typeof value !== "object" || value === null || isThing(value) || isInEnglish(value)) return false
  const entries: ReadonlyArray<Json> = Object.values(value)
  return (isByNumber(value) && !entries.every(isThing)) || entries.some(isUnclear)
}

/** The English text counts, whatever stands under another language. */
const isInEnglish = (value: Json): boolean =>
  isObject(value) &&
  typeof value.en === "string" &&
  value.en.trim() !== "" &&
  Object.keys(value).every((key) => ["en", "fr", "en-AU"].includes(key))

const Scalar = Schema.Union([
  Schema.Null,
  Schema.Boolean,
  Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 2_000_000_000 })),
  Schema.Literals([12.5, 12.0, 1e21, -0.5]),
  Schema.Literals([
    "",
    " ",
    "9300000000011",
    "Five",
    "12.50",
    "1495.00",
    "1495",
    " 7 ",
    "en",
    "true",
    "x".repeat(201),
    "1e3",
    "0x1f"
  ])
])
const Key = Schema.Literals([
  "0",
  "1",
  "2",
  ...codes,
  "en",
  "fr",
  "mg",
  "en-AU",
  "id",
  "name",
  "title",
  "code",
  "items",
  "value",
  "createdAt"
])
/** An object is drawn as its entries: a record of the keys would always have all of them. */
const Entries = <S extends Schema.Top>(value: S) =>
  Schema.Struct({ entries: Schema.Array(Schema.Tuple([Key, value])).check(Schema.isMaxLength(3)) })
const Flat = Schema.Union([Scalar, Schema.Array(Scalar), Entries(Scalar)])
const Nested = Schema.Union([Flat, Schema.Array(Flat), Entries(Flat)])
const Deep = Schema.Union([Nested, Schema.Array(Nested), Entries(Nested)])

type Drawn = Json | ReadonlyArray<Drawn> | { readonly entries: ReadonlyArray<readonly [string, Drawn]> }
const isEntries = (drawn: Drawn): drawn is { readonly entries: ReadonlyArray<readonly [string, Drawn]> } =>
  typeof drawn === "object" && drawn !== null && !Array.isArray(drawn)
const jsonOf = (drawn: Drawn): Json => {
  if (isEntries(drawn)) return Object.fromEntries(drawn.entries.map(([key, value]) => [key, jsonOf(value)]))
  return Array.isArray(drawn) ? drawn.map(jsonOf) : (drawn as Json)
}

/** The kinds of object that sources of this sort send. Each must have been drawn, or the property has proved nothing. */
const objectKinds: Readonly<Record<string, (keys: ReadonlyArray<string>) => boolean>> = {
  "no key": (keys) => keys.length === 0,
  "one numeric key": (keys) => keys.length === 1 && /^\d+$/.test(keys[0] ?? ""),
  "keyed by code": (keys) => keys.length > 0 && keys.every((key) => codes.includes(key)),
  "several numeric keys": (keys) => keys.length > 1 && keys.every((key) => /^\d+$/.test(key)),
  "one other key": (keys) => keys.length === 1 && !/^\d+$/.test(keys[0] ?? ""),
  "an id or a code and a name": (keys) => keys.includes("name") && (keys.includes("id") || keys.includes("code")),
  "a language": (keys) => keys.includes("en")
}

const Field = Schema.Literals(fields as [string, ...Array<string>])

describe("Any JSON in any field", () => {
  const drawnKinds = new Map<string, number>()

  it.prop(
    "is the value of its column, or its field is named: it is never dropped in silence",
    { field: Field, value: Deep },
    ({ field, value: drawn }) => {
      const value = jsonOf(drawn as Drawn)
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        for (const [kind, is] of Object.entries(objectKinds)) {
          if (is(Object.keys(value))) drawnKinds.set(kind, (drawnKinds.get(kind) ?? 0) + 1)
        }
      }
      const { row, unknown } = decoded(resultWith(field, value))
      for (const column of columns) {
        const isOwn = columnsOf(field).includes(column)
        // Nothing else is touched by it.
        if (!isOwn) {
          assert.isTrue(isNothing(row[column]), column)
          assert.notInclude(unknown, column)
          continue
        }
        if (unknown.includes(column)) {
          assert.isTrue(isNothing(row[column]), `${column} is named and has a value`)
          assert.isAbove(said(value).length, 0, `${column} is named for nothing`)
        } else if (said(value).length > 0 && isNothing(row[column])) {
          // A thing may have no name and still an id, and the other way round: then one column of the field has a value.
          assert.isTrue(isExplicitlyEmpty(column, value), `${column} lost ${JSON.stringify(value)}`)
        } else if (column === "ean" && isObject(value) && isUnclear(value)) {
          // Short numbers lead to barcodes only: they are indexes, and the barcodes are meant.
          const [indexes, barcodes] = [Object.keys(value), Object.values(value).map(String)]
          assert.isTrue(
            indexes.every((index) => /^\d{1,3}$/.test(index)),
            JSON.stringify(value)
          )
          assert.isTrue(
            barcodes.every((barcode) => /^\d{8,}$/.test(barcode)),
            JSON.stringify(value)
          )
          assert.deepStrictEqual(row.ean, barcodes)
        } else if (isUnclear(value) && column !== "organization" && column !== "brand") {
          // Whether the code or what it leads to is the value, nobody can tell. A name is that of the first thing that has one.
          assert.isTrue(
            isNothing(row[column]),
            `${column} took ${JSON.stringify(row[column])} of ${JSON.stringify(value)}`
          )
        }
      }
    },
    random(2000, 6000)
  )

  it("was drawn in every kind of object", () => {
    for (const kind of Object.keys(objectKinds)) assert.isAbove(drawnKinds.get(kind) ?? 0, 10, kind)
  })
})

/** Things whose name, or whose code, is said to be none. */
const isExplicitlyEmpty = (column: SourceColumn, value: Json): boolean => {
  const key = column === "gs1_category" ? "code" : "name"
  if (column !== "gs1_category" && column !== "organization" && column !== "brand") return false
  // Under a numeric key the code may be the key.
  if (column === "gs1_category" && isObject(value) && Object.keys(value).every((one) => /^\d+$/.test(one))) return false
  const has = (one: Json): one is { readonly [key: string]: Json } => isObject(one) && key in one
  const things = has(value) ? [value] : Object.values(value as object)
  return things
    .filter((one) => said(one as Json).length > 0)
    .every((one) => has(one) && said(one[key] ?? null).length === 0)
}
