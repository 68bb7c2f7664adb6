import { Predicate, Schema } from "effect"
import type { Json, JsonObject } from "./CanonicalJson.ts"

/**
 * The forms in which MediPim sends a value, and how each becomes what a column holds. Documents and data disagree
 * (medipim-api-v4.md sections 6 and 8), so every form that was seen or documented is accepted, and "no value" is
 * `null`, a missing key, `""`, `[]` and `{}` alike. Anything else makes the line a rejected record: a value is never
 * dropped in silence.
 */

const isNothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  (typeof value === "object" && Object.keys(value as object).length === 0)

const isScalar = (value: unknown): value is string | number | bigint =>
  typeof value === "string" || typeof value === "number" || typeof value === "bigint"

const toText = (value: Json | undefined): string | null => {
  const text = isScalar(value) ? String(value).trim() : ""
  return text === "" ? null : text
}

const form = (expected: string, accepts: (value: unknown) => boolean) =>
  Schema.optionalKey(
    Schema.declare<Json | undefined>((value): value is Json | undefined => isNothing(value) || accepts(value), {
      expected: `${expected} or no value`
    })
  )

/** Text or a number. */
export const Text = form("text", isScalar)
export const text = toText

/** Characters; Postgres refuses an index entry of more than a third of a page, and with it the whole publish. */
export const longestKey = 200
const isKey = (value: unknown): boolean => isScalar(value) && String(value).length <= longestKey

/** Text or a number by which products are looked up. */
export const Key = form(`text of at most ${longestKey} characters`, isKey)

const numeric = (value: unknown): number | undefined => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value
  return typeof number === "number" && Number.isFinite(number) ? number : undefined
}

const within =
  (smallest: number, largest: number) =>
  (value: unknown): boolean => {
    const number = numeric(value)
    return number !== undefined && Number.isInteger(number) && number >= smallest && number <= largest
  }

/** A whole number that fits a Postgres `integer`: cents and ids. */
export const Int = form("a whole number of 32 bits", within(-2_147_483_648, 2_147_483_647))
/** Unix seconds up to the year 9999. */
export const UnixSeconds = form("unix seconds", within(0, 253_402_300_799))
export const Float = form("a number", (value) => numeric(value) !== undefined)
export const number = (value: Json | undefined): number | null => numeric(value) ?? null

/** ISO time of unix seconds. */
export const time = (value: Json | undefined): string | null => {
  const seconds = numeric(value)
  return seconds === undefined ? null : new Date(seconds * 1000).toISOString()
}

const truths: ReadonlyArray<unknown> = [true, 1, "1", "true"]
const untruths: ReadonlyArray<unknown> = [false, 0, "0", "false"]

export const Flag = form("true or false", (value) => truths.includes(value) || untruths.includes(value))
export const flag = (value: Json | undefined): boolean | null =>
  truths.includes(value) ? true : untruths.includes(value) ? false : null

/** Plain text, or an object keyed by language. */
export const Localised = form(
  "text or text by language",
  (value) =>
    isScalar(value) ||
    (Predicate.isObject(value) && Object.values(value).every((entry) => isNothing(entry) || isScalar(entry)))
)

/** The English text, or the first language that has one. */
export const localised = (value: Json | undefined): string | null => {
  if (!Predicate.isObject(value)) return toText(value)
  const languages = value as JsonObject
  return toText(languages.en) ?? Object.values(languages).map(toText).find(Predicate.isNotNull) ?? null
}

/** One code or a list of them, by which products are looked up. */
export const Codes = form(
  `a code of at most ${longestKey} characters or a list of codes`,
  (value) => isKey(value) || (Array.isArray(value) && value.every((entry) => isNothing(entry) || isKey(entry)))
)
export const codes = (value: Json | undefined): ReadonlyArray<string> =>
  (Array.isArray(value) ? value : [value]).map(toText).filter(Predicate.isNotNull)

/** A code of a known length: a number lost its leading zeros on the way, text keeps what it has. */
export const padded = (value: Json | undefined, length: number): string | null => {
  const code = toText(value)
  return code !== null && typeof value !== "string" ? code.padStart(length, "0") : code
}

const isEntity = (value: unknown): boolean =>
  Predicate.isObject(value) &&
  (isNothing(value.id) || within(-2_147_483_648, 2_147_483_647)(value.id)) &&
  (isNothing(value.name) || isScalar(value.name) || Predicate.isObject(value.name))

/** A list of things with a numeric id and a name: brands, organizations, categories, families. */
export const Entities = form(
  "a list of objects with id and name",
  (value) => isEntity(value) || (Array.isArray(value) && value.every((entry) => isNothing(entry) || isEntity(entry)))
)
const entities = (value: Json | undefined): ReadonlyArray<JsonObject> =>
  (Array.isArray(value) ? value : [value]).filter(Predicate.isObject) as ReadonlyArray<JsonObject>
export const entityIds = (value: Json | undefined): ReadonlyArray<number> =>
  entities(value)
    .map((entity) => number(entity.id))
    .filter(Predicate.isNotNull)
export const firstName = (value: Json | undefined): string | null =>
  entities(value)
    .map((entity) => localised(entity.name))
    .find(Predicate.isNotNull) ?? null

/** An object with a code, or the bare code. */
export const Coded = form(
  "an object with a code",
  (value) => isScalar(value) || (Predicate.isObject(value) && (isNothing(value.code) || isScalar(value.code)))
)
export const code = (value: Json | undefined): string | null =>
  toText(Predicate.isObject(value) ? (value as JsonObject).code : value)
