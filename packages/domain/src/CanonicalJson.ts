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

const keepDigits = (_key: string, value: unknown, { source }: { readonly source?: string }): unknown => {
  if (typeof value !== "number" || source === undefined) return value
  if (Number.isSafeInteger(value) && /^-?\d+$/.test(source)) return value
  const exact = decimalText(decimalOf(source))
  return exact === decimalText(decimalOf(String(value))) ? value : new ExactNumber(exact)
}

const colon = /\s*:/y
const backslash = /\\(?:\\|u005c)/gi

/** Whether a key has a backslash in it: a string that holds one and is followed by a colon. */
const hasBackslashInKey = (text: string): boolean => {
  // Nearly every line ends here.
  if (!(text.includes("\\\\") || text.includes("\\u005"))) return false
  for (backslash.lastIndex = 0; backslash.test(text); ) {
    let end = backslash.lastIndex
    while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1
    colon.lastIndex = end + 1
    if (colon.test(text)) return true
    backslash.lastIndex = end
  }
  return false
}

/**
 * `JSON.parse` that loses no digit: SNOMED codes have up to 18 digits (docs/reference/medipim-api.md#the-product), and a source that
 * sends one as a number must not have it rounded. `12.50` and `12.5` are one number. Throws `SyntaxError` as `JSON.parse`
 * does, and for a key with a backslash: Node 24 gives such a key, and others with an escape after it, another name.
 */
export const parseExact = (text: string): Json => {
  if (hasBackslashInKey(text)) throw new SyntaxError("a key holds a backslash, which Node reads wrongly")
  return longNumber.test(text)
    ? JSON.parse(text, keepDigits as (this: unknown, key: string, value: unknown) => unknown)
    : JSON.parse(text)
}
