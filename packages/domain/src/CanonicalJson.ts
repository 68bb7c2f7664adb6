/** What `JSON.parse` gives, plus integers beyond 2^53 as `bigint` (see `parseExact`). */
export type Json = null | boolean | number | bigint | string | ReadonlyArray<Json> | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

const needsEscape = /["\\\u0000-\u001f\ud800-\udfff]/
const maxShapes = 10_000

interface Shape {
  readonly key: string
  readonly prefix: string
}

/** Knows the sorted keys of objects by the keys that they have. */
export type Shapes = (object: JsonObject) => ReadonlyArray<Shape>

/**
 * Objects of one kind come with the same keys in the same order thousands of times: their sorted order is worked out
 * once. This makes canonical text as cheap as `JSON.stringify`. The map is emptied when it grows strange.
 */
export const makeShapes = (omitted?: string): Shapes => {
  const known = new Map<string, { readonly keys: number; readonly shape: ReadonlyArray<Shape> }>()
  return (object) => {
    const keys = Object.keys(object)
    // NUL cannot make two key lists look alike in anything that is stored: Postgres refuses it in jsonb.
    const signature = keys.join("\u0000")
    const found = known.get(signature)
    if (found !== undefined && found.keys === keys.length) return found.shape
    const count = keys.length
    const shape = keys
      .filter((key) => key !== omitted)
      .sort()
      .map((key, i) => ({ key, prefix: `${i === 0 ? "" : ","}${JSON.stringify(key)}:` }))
    if (known.size >= maxShapes) known.clear()
    known.set(signature, { keys: count, shape })
    return shape
  }
}

const allKeys = makeShapes()

/** Far above any product, far below what Postgres refuses. */
const deepest = 100

const numberText = (value: number): string => {
  if (!Number.isFinite(value)) throw new RangeError("a number is too large")
  return String(value)
}

/**
 * JSON text with the keys of every object sorted and no white space: equal values give equal text. Throws `RangeError`
 * for what no jsonb column can hold: numbers beyond a double, nesting beyond 100 levels.
 */
export const canonicalJson = (value: Json, depth = 0): string => {
  switch (typeof value) {
    case "string":
      return needsEscape.test(value) ? JSON.stringify(value) : `"${value}"`
    case "number":
      return numberText(value)
    case "bigint":
      return String(value)
    case "boolean":
      return value ? "true" : "false"
  }
  if (value === null) return "null"
  if (depth === deepest) throw new RangeError(`nested deeper than ${deepest} levels`)
  if (Array.isArray(value)) {
    let text = "["
    for (let i = 0; i < value.length; i++) text += (i === 0 ? "" : ",") + canonicalJson(value[i] as Json, depth + 1)
    return `${text}]`
  }
  return objectText(value as JsonObject, allKeys, (_key, entry) => canonicalJson(entry, depth + 1))
}

/** The text of an object whose keys are these shapes; `textOf` gives the text of each value. */
export const objectText = (
  object: JsonObject,
  shapes: Shapes,
  textOf: (key: string, entry: Json) => string
): string => {
  let text = "{"
  for (const { key, prefix } of shapes(object)) text += prefix + textOf(key, object[key] as Json)
  return `${text}}`
}

/** May hold an integer that a double cannot: a false alarm only costs the slower parse. */
const longNumber = /[:[,]\s*-?\d{16}/

const keepIntegers = (_key: string, value: unknown, context: { readonly source?: string }): unknown =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? "")
    ? BigInt(context.source as string)
    : value

/**
 * `JSON.parse` that loses no digit: SNOMED codes have up to 18 digits (medipim-api-v4.md section 6), and a source that
 * sends one as a number must not have it rounded. Throws `SyntaxError` as `JSON.parse` does.
 */
export const parseExact = (text: string): Json =>
  longNumber.test(text)
    ? JSON.parse(text, keepIntegers as (this: unknown, key: string, value: unknown) => unknown)
    : JSON.parse(text)
