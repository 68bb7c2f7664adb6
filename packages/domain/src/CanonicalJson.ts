/** A number that no double holds, such as a code of 18 digits: `text` is its canonical decimal form, equal for equal values. */
export class ExactNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** What `JSON.parse` gives, but every number that a double would round is an `ExactNumber` (see `parseExact`). */
export type Json = null | boolean | number | string | ExactNumber | ReadonlyArray<Json> | JsonObject
export type JsonObject = { readonly [key: string]: Json }

/** True for `{...}`: no array, no null, no number. */
export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber)

const needsEscape = /["\\\u0000-\u001f\ud800-\udfff]/
const maxShapes = 10_000

interface Shape {
  readonly key: string
  readonly prefix: string
}

const isSameList = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean => {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Knows the sorted keys of objects by the keys that they have. */
export type Shapes = (object: JsonObject) => ReadonlyArray<Shape>

/**
 * Objects of one kind come with the same keys in the same order thousands of times: their sorted order is worked out
 * once. This makes canonical text as cheap as `JSON.stringify`. The map is emptied when it grows strange.
 */
export const makeShapes = (omitted?: string): Shapes => {
  const known = new Map<string, { readonly keys: ReadonlyArray<string>; readonly shape: ReadonlyArray<Shape> }>()
  return (object) => {
    const keys = Object.keys(object)
    // Two lists of keys can have the same signature when a key contains the separator, so a hit is compared key by key.
    const signature = keys.join("\u0000")
    const found = known.get(signature)
    if (found !== undefined && isSameList(found.keys, keys)) return found.shape
    const shape = keys
      .filter((key) => key !== omitted)
      .sort()
      .map((key, i) => ({ key, prefix: `${i === 0 ? "" : ","}${JSON.stringify(key)}:` }))
    if (known.size >= maxShapes) known.clear()
    known.set(signature, { keys, shape })
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
 * for what no jsonb column can hold: numbers beyond Postgres's `numeric`, nesting beyond 100 levels.
 */
export const canonicalJson = (value: Json, depth = 0): string => {
  switch (typeof value) {
    case "string":
      return needsEscape.test(value) ? JSON.stringify(value) : `"${value}"`
    case "number":
      return numberText(value)
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
  if (value instanceof ExactNumber) return storableNumber(value.text)
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

interface Decimal {
  readonly sign: string
  /** Without zeros at either end; empty for 0. */
  readonly digits: string
  /** The value is `0.digits` times ten to this power. */
  readonly power: number
}

/** Far beyond what can be stored, and still a whole number of its own. */
const largestExponent = 1e9

const decimalOf = (number: string): Decimal => {
  const [mantissa = "", exponentText = "0"] = number.toLowerCase().split("e")
  const exponent = Math.max(-largestExponent, Math.min(largestExponent, Number(exponentText)))
  const [whole = "", fraction = ""] = mantissa.replace(/^[+-]/, "").split(".")
  const leading = /^0*/.exec(whole + fraction)?.[0].length ?? 0
  const digits = (whole + fraction).slice(leading).replace(/0+$/, "")
  const sign = mantissa.startsWith("-") && digits !== "" ? "-" : ""
  return { sign, digits, power: digits === "" ? 0 : exponent + whole.length - leading }
}

/** Longer runs of zeros are written as an exponent. */
const mostZeros = 40

const decimalText = ({ sign, digits, power }: Decimal): string => {
  if (digits === "") return "0"
  const after = digits.length - power
  if (power > 0 && after <= 0 && -after <= mostZeros) return sign + digits.padEnd(power, "0")
  if (power > 0 && after > 0) return `${sign}${digits.slice(0, power)}.${digits.slice(power)}`
  if (power <= 0 && -power <= mostZeros) return `${sign}0.${"0".repeat(-power)}${digits}`
  return `${sign}${digits}e${power - digits.length}`
}

/** A number as its plain digits, the same for equal numbers. */
export const plainNumber = (value: string | number | ExactNumber): string => {
  if (Number.isSafeInteger(value)) return String(value)
  return decimalText(decimalOf(value instanceof ExactNumber ? value.text : String(value)))
}

/** The range of `numeric`, of which jsonb makes its numbers: digits before and after the point (PostgreSQL manual, 8.1.2). */
const numericDigits = { before: 131_072, after: 16_383 }

const storableNumber = (text: string): string => {
  const { digits, power } = decimalOf(text)
  if (power > numericDigits.before || digits.length - power > numericDigits.after) {
    throw new RangeError("a number is beyond what Postgres can store")
  }
  return text
}

/** May be a number that a double rounds: one of 16 digits and more, or with an exponent. A false alarm costs the slower parse. */
const longNumber = /[:[,]\s*-?\d(?:[\d.]{15}|[\d.]{0,14}[eE])/

type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown

const keepDigits: Reviver = (_key, value, { source }) => {
  if (typeof value !== "number" || source === undefined) return value
  if (Number.isSafeInteger(value) && /^-?\d+$/.test(source)) return value
  const exact = decimalText(decimalOf(source))
  return exact === decimalText(decimalOf(String(value))) ? value : new ExactNumber(exact)
}

/** The last escape of a string, the end of the string, and the colon that makes it a key. A false alarm costs the slower parse. */
const escapeInKey = /\\.[^"\\]*"\s*:/s

/** In front of a key that is written as hexadecimal digits; a key that begins like it is written so too. */
const hexMark = "~"

/** A key without escapes: as it is when it needs none, otherwise as the hexadecimal digits of its code units. */
const keyWithoutEscapes = (token: string): string => {
  if (!token.includes("\\") && !token.startsWith(`"${hexMark}`)) return token
  const key = JSON.parse(token) as string
  const plain = JSON.stringify(key)
  if (!plain.includes("\\") && !key.startsWith(hexMark)) return plain
  const units = key.split("").map((unit) => unit.charCodeAt(0).toString(16).padStart(4, "0"))
  return `"${hexMark}${units.join("")}"`
}

const colon = /\s*:/y

/** The text of a JSON document without escapes in its keys. */
const withoutEscapesInKeys = (text: string): string => {
  const pieces: Array<string> = []
  let copied = 0
  for (let start = text.indexOf('"'); start !== -1; ) {
    let end = start + 1
    while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1
    colon.lastIndex = end + 1
    if (colon.test(text)) {
      pieces.push(text.slice(copied, start), keyWithoutEscapes(text.slice(start, end + 1)))
      copied = end + 1
    }
    start = text.indexOf('"', end + 1)
  }
  return pieces.join("") + text.slice(copied)
}

const keyOf = (written: string): string =>
  written.startsWith(hexMark)
    ? written.slice(1).replace(/.{4}/g, (unit) => String.fromCharCode(Number.parseInt(unit, 16)))
    : written

const keepKeysAndDigits: Reviver = (key, value, context) =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).map(([written, member]) => [keyOf(written), member]))
    : keepDigits(key, value, context)

/**
 * `JSON.parse` that loses no digit and no key. SNOMED codes have up to 18 digits
 * (docs/reference/medipim-api.md#the-product), and a source that sends one as a number must not have it rounded. `12.50`
 * and `12.5` are one number. Node 24 reads a key with an escape as another one when the process has seen an object whose
 * key holds a backslash, so `JSON.parse` is never given such a key. Throws `SyntaxError` as `JSON.parse` does.
 */
export const parseExact = (text: string): Json => {
  const parse = JSON.parse as (text: string, reviver?: Reviver) => Json
  if (escapeInKey.test(text)) {
    // Throws for a text that is no JSON; in all others every string ends.
    parse(text)
    return parse(withoutEscapesInKeys(text), keepKeysAndDigits)
  }
  return longNumber.test(text) ? parse(text, keepDigits) : parse(text)
}
