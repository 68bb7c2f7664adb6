import { ExactNumber, isJsonObject, type Json, type JsonObject, plainNumber } from "./CanonicalJson.ts"

/**
 * How a value of the source becomes the value of a column. Documentation and data disagree about forms
 * (docs/reference/medipim-api.md#the-product), so every form with one meaning is read: `null`, a missing key, `""`, `[]`, `{}` and
 * `false` all mean "no value"; a list may be an object with the keys 0, 1, 2, a single value a list of one, a whole number
 * text. Any other form is `unknownShape`: it is reported, never dropped silently.
 */
export type Read<A> = (value: Json | undefined) => A | typeof unknownShape

/** There is a value, and its meaning is not known. */
export const unknownShape: unique symbol = Symbol("unknown shape")
type Unknown = typeof unknownShape

type Scalar = string | number | ExactNumber
const isScalar = (value: Json | undefined): value is Scalar =>
  typeof value === "string" || typeof value === "number" || value instanceof ExactNumber

const figures = /^\d+$/
const entriesByNumber = (value: JsonObject): ReadonlyArray<readonly [key: string, entry: Json]> | undefined => {
  const keys = Object.keys(value)
  return keys.length > 0 && keys.every((key) => figures.test(key)) ? Object.entries(value) : undefined
}

/**
 * Keys that are indexes of a list: PHP writes a list with gaps, as a filter leaves it, as an object with the keys 0, 2, 3. Other
 * numbers are ids or codes, which say more than their order, and so may small ones that lead to a number or to `true`.
 */
const areListIndexes = (entries: ReadonlyArray<readonly [key: string, entry: Json]>): boolean => {
  const keys = entries.map(([key]) => key)
  const isDense = keys.every((key) => key === String(Number(key)) && Number(key) < 2 * keys.length)
  const mayCount = entries.some(([, entry]) => entry === true || (isScalar(entry) && typeof entry !== "string"))
  return isDense && (!mayCount || keys.includes("0"))
}

/** The entry holds its own id, code or name, so the key it is stored under does not matter. */
const identifiesItself = (entry: Json): boolean =>
  isJsonObject(entry) && ["id", "code", "name"].some((key) => Object.hasOwn(entry, key) && !isNothing(entry[key]))

/** The values of a list, also of one that is written as an object. */
const listOf = (value: Json | undefined): ReadonlyArray<Json> | undefined => {
  if (Array.isArray(value)) return value
  const entries = isJsonObject(value) ? entriesByNumber(value) : undefined
  if (entries === undefined) return undefined
  return areListIndexes(entries) || entries.every(([, entry]) => identifiesItself(entry))
    ? entries.map(([, entry]) => entry)
    : undefined
}

/** An object keyed by ids or codes, and no list: whether the keys or the values are meant is unknown. */
const isByNumber = (value: Json | undefined): boolean =>
  isJsonObject(value) && entriesByNumber(value) !== undefined && listOf(value) === undefined

/** No value, at any depth: `[null]` and `{"en":""}` say no more than `null`, but `{"9300000000011":null}` has a key. */
const isNothing = (value: Json | undefined): boolean => {
  if (value === undefined || value === null || value === false) return true
  if (typeof value === "string") return value.trim() === ""
  if (typeof value !== "object" || value instanceof ExactNumber) return false
  if (!Object.values(value).every(isNothing)) return false
  // Of entries that are all nothing, none holds an id of its own: only list indexes say nothing themselves.
  const entries = isJsonObject(value) ? entriesByNumber(value) : undefined
  return entries === undefined || areListIndexes(entries)
}

/** The value itself, or the only one of its list; `undefined` for none. */
export const single = (value: Json | undefined): Json | undefined | Unknown => {
  if (isNothing(value)) return undefined
  const list = listOf(value)
  if (list === undefined) return isByNumber(value) ? unknownShape : value
  const [first, ...others] = list.filter((entry) => !isNothing(entry))
  return others.every((other) => other === first) && listOf(first) === undefined ? first : unknownShape
}

/** The version of the mapping knows readers by their names (`ContentHash.ts`): these last, whatever they are called in the code. */
const named = <A>(name: string, read: Read<A>): Read<A> => Object.defineProperty(read, "name", { value: name })

/** Reads a single value that is there. */
const one =
  <A>(read: (value: Json) => A | Unknown): Read<A | null> =>
  (value) => {
    const found = single(value)
    if (found === undefined) return null
    return found === unknownShape ? unknownShape : read(found)
  }

const scalarText = (value: Scalar): string => (typeof value === "string" ? value.trim() : plainNumber(value))

/**
 * Languages in which MediPim's countries write. Any two letters would take `id`, `no` and `mg` for languages, and the number
 * behind them for a text.
 */
const language = /^(?:en|nl|fr|de|es|it)(?:[-_][A-Za-z]{2,4})?$/

const words = one((value) => (typeof value === "string" ? value.trim() : unknownShape))

/** Beside an English text, keys of two letters with texts are languages too. */
const isTranslated = (value: JsonObject): boolean =>
  typeof words(value.en) === "string" &&
  Object.entries(value).every(([key, entry]) => /^[a-z]{2}$/.test(key) && words(entry) !== unknownShape)

/** Text, a number, or an object of texts by language: an English one, else the first that is there. */
export const text: Read<string | null> = named(
  "text",
  one((value) => {
    if (isScalar(value)) return scalarText(value)
    if (!isJsonObject(value)) return unknownShape
    if (!Object.keys(value).every((key) => language.test(key)) && !isTranslated(value)) return unknownShape
    const english = words(value.en)
    if (english !== null) return english
    const said = Object.entries(value).filter(([, entry]) => !isNothing(entry))
    const [, entry] = said.find(([key]) => /^en[-_]/.test(key)) ?? said[0] ?? []
    return words(entry)
  })
)

/** Characters. Postgres takes no index entry of more than a third of a page, and refuses the whole statement. */
export const longestKey = 200

/** Text by which products are looked up. */
export const key: Read<string | null> = named("key", (value) => {
  const found = text(value)
  return typeof found === "string" && found.length > longestKey ? unknownShape : found
})

const longCode = /^\d{8,}$/
/** What a filter leaves of a list of codes: short indexes with gaps, and long codes, which count nothing. */
const filteredCodes = (value: Json | undefined): ReadonlyArray<Json> | undefined => {
  const entries = isJsonObject(value) ? entriesByNumber(value) : undefined
  const areCodes = entries?.every(
    ([key, entry]) => key.length < 4 && isScalar(entry) && longCode.test(scalarText(entry))
  )
  return areCodes === true ? entries?.map(([, entry]) => entry) : undefined
}

/** One code or a list of them, by which products are looked up. */
export const keys: Read<ReadonlyArray<string>> = named("keys", (value) => {
  const codes: Array<string> = []
  for (const entry of listOf(value) ?? filteredCodes(value) ?? [value]) {
    if (isNothing(entry)) continue
    if (!isScalar(entry)) return unknownShape
    const code = scalarText(entry)
    if (code.length > longestKey) return unknownShape
    codes.push(code)
  }
  return codes
})

/** A code of a known length: a number lost its leading zeros on the way, text keeps what it has. */
export const digits = (length: number): Read<string | null> =>
  named(
    `digits(${length})`,
    one((value) => {
      if (typeof value === "string" || isJsonObject(value)) return key(value)
      const code = isScalar(value) ? scalarText(value) : ""
      return /^\d+$/.test(code) ? code.padStart(length, "0") : unknownShape
    })
  )

const wholeText = /^[+-]?\d+(?:\.0+)?$/

/** A whole number in these bounds, also written as text or with `.00`. */
const whole = (smallest: number, largest: number): Read<number | null> =>
  one((value) => {
    const number = typeof value === "string" && wholeText.test(value.trim()) ? Number(value) : value
    return typeof number === "number" && Number.isInteger(number) && number >= smallest && number <= largest
      ? number
      : unknownShape
  })

/** A whole number that fits a Postgres `integer`: cents and ids. */
export const int = named("int", whole(-2_147_483_648, 2_147_483_647))

/** ISO time of unix seconds, up to the year 9999. */
export const time: Read<string | null> = named("time", (value) => {
  const seconds = unixSeconds(value)
  return typeof seconds === "number" ? new Date(seconds * 1000).toISOString() : seconds
})
const unixSeconds = whole(0, 253_402_300_799)

/** Characters. No figure of a catalogue has more, and the `numeric` of Postgres has a limit. */
const longestDecimal = 40

/** A decimal number, as its digits. */
export const decimal: Read<string | null> = named(
  "decimal",
  one((value) => {
    const digits = isScalar(value) ? scalarText(value) : ""
    return digits.length <= longestDecimal && /^[+-]?\d+(?:\.\d+)?$/.test(digits) ? plainNumber(digits) : unknownShape
  })
)

const truths: ReadonlyArray<unknown> = [true, 1, "1", "true"]
const untruths: ReadonlyArray<unknown> = [false, 0, "0", "false"]

/** True or false, also as 1 and 0 or as text. Here `false` is a value. */
export const flag: Read<boolean | null> = named("flag", (value) => {
  const found = (listOf(value) ?? [value]).filter((entry) => entry === false || !isNothing(entry))
  if (found.length === 0) return null
  if (found.every((entry) => truths.includes(entry))) return true
  return found.every((entry) => untruths.includes(entry)) ? false : unknownShape
})

/** The entities of a list that are there: brands, organizations, categories, families. A single one may come without its list. */
const entities = (value: Json | undefined): ReadonlyArray<Json> =>
  (listOf(value) ?? [value as Json]).filter((entity) => !isNothing(entity))

const isEntity = (entity: Json): entity is JsonObject => isJsonObject(entity) && listOf(entity) === undefined

/** The id of each entity. In place of an entity its number may stand; text in that place may be a name or a number. */
export const ids: Read<ReadonlyArray<number>> = named("ids", (value) => {
  const found: Array<number> = []
  for (const entity of entities(value)) {
    const id = isEntity(entity) ? int(entity.id) : typeof entity === "number" ? int(entity) : unknownShape
    if (typeof id !== "number") return unknownShape
    found.push(id)
  }
  return found
})

/** The name of the first thing that has one. A thing without the key is not understood: the key may have been renamed. */
export const firstName: Read<string | null> = named("firstName", (value) => {
  for (const entity of entities(value)) {
    const name = nameOf(entity)
    if (name !== null) return name
  }
  return null
})
const nameOf = (entity: Json): string | null | Unknown => {
  if (isEntity(entity)) return Object.hasOwn(entity, "name") ? text(entity.name) : unknownShape
  return typeof entity === "string" && !wholeText.test(entity.trim()) ? text(entity) : unknownShape
}

const codeOf = one((value) => {
  if (isScalar(value)) return scalarText(value)
  return isEntity(value) && Object.hasOwn(value, "code") ? text(value.code) : unknownShape
})

/** A thing with a code, or the bare code. Under a numeric key, a thing without one has its code in the key. */
export const code: Read<string | null> = named("code", (value) => {
  const found = codeOf(value)
  const isKeyed = isJsonObject(value) && entriesByNumber(value) !== undefined && !isNothing(value)
  return found === null && isKeyed ? unknownShape : found
})
