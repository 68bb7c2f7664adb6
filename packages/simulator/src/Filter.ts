import { type Facts, type Status, statuses } from "./Catalogue.ts"

/** What is wrong with a request, in the form of MediPim's 422 answers. */
export interface Violation {
  readonly field: string
  readonly message: string
}

export class Violations extends Error {
  readonly violations: ReadonlyArray<Violation>
  constructor(violations: ReadonlyArray<Violation>) {
    super(violations.map(({ field, message }) => `${field}: ${message}`).join("; "))
    this.violations = violations
  }
}

const wrong = (field: string, message: string): never => {
  throw new Violations([{ field, message }])
}

type Passes = (facts: Facts) => boolean

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const listOf = (field: string, value: unknown): ReadonlyArray<string> => {
  const list = Array.isArray(value) ? value : [value]
  return list.every((entry) => typeof entry === "string") && list.length > 0
    ? list
    : wrong(field, "a text or a list of texts is expected")
}

const isTime = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Unix seconds alone mean since; both ends of `{from, until}` count in, unless the bounds are switched to exclusive. */
const timeIn = (field: string, value: unknown, inclusive: boolean): ((time: number) => boolean) => {
  const { from, until, ...rest } = isObject(value) ? value : { from: value, until: undefined }
  const known = Object.keys(rest).length === 0 && (isTime(from) || isTime(until))
  if (!known || (from !== undefined && !isTime(from)) || (until !== undefined && !isTime(until))) {
    return wrong(field, "unix seconds or {from, until} are expected")
  }
  const after = (time: number) => from === undefined || (inclusive ? time >= (from as number) : time > (from as number))
  const before = (time: number) =>
    until === undefined || (inclusive ? time <= (until as number) : time < (until as number))
  return (time) => after(time) && before(time)
}

const filters = (field: string, value: unknown, inclusive: boolean): ReadonlyArray<Passes> =>
  Array.isArray(value) && value.length > 0
    ? value.map((one, i) => filterOf(one, inclusive, `${field}.${i}`))
    : wrong(field, "a list of filters is expected")

/** The products that a filter lets pass (docs/reference/medipim-api.md#filters). One key an object, as documented. */
export const filterOf = (filter: unknown, inclusive: boolean, path = "filter"): Passes => {
  if (!isObject(filter)) return wrong(path, "an object is expected")
  const [entry, ...more] = Object.entries(filter)
  if (entry === undefined) return () => true
  if (more.length > 0) return wrong(path, "one key is expected; combine filters with and")
  const [name, value] = entry
  const field = `${path}.${name}`
  switch (name) {
    case "and": {
      const all = filters(field, value, inclusive)
      return (facts) => all.every((passes) => passes(facts))
    }
    case "or": {
      const any = filters(field, value, inclusive)
      return (facts) => any.some((passes) => passes(facts))
    }
    case "not": {
      const passes = filterOf(value, inclusive, field)
      return (facts) => !passes(facts)
    }
    case "id": {
      const ids = new Set(listOf(field, value))
      return ({ id }) => ids.has(id)
    }
    case "status": {
      const wanted = listOf(field, value)
      if (!wanted.every((one) => statuses.includes(one as Status))) wrong(field, "is not a status")
      return ({ status }) => wanted.includes(status)
    }
    case "createdAt": {
      const within = timeIn(field, value, inclusive)
      return ({ createdAt }) => within(createdAt)
    }
    case "updatedSince": {
      const within = timeIn(field, value, inclusive)
      return ({ updatedAt }) => within(updatedAt)
    }
    default:
      return wrong(field, "is not a filter")
  }
}

export interface Order {
  readonly by: "id" | "createdAt" | "touchedAt" | "name"
  readonly descending: boolean
}

const directionOf = (field: string, value: unknown): boolean => {
  if (value === "ASC" || value === "DESC") return value === "DESC"
  return wrong(field, "ASC or DESC is expected")
}

/** The order that a request asks for (section 5.2): one key. */
export const orderOf = (sorting: unknown): Order => {
  if (!isObject(sorting)) return wrong("sorting", "an object is expected")
  const [entry, ...more] = Object.entries(sorting)
  if (entry === undefined || more.length > 0) return wrong("sorting", "one key is expected")
  const [by, value] = entry
  const field = `sorting.${by}`
  switch (by) {
    case "id":
    case "createdAt":
    case "touchedAt":
      return { by, descending: directionOf(field, value) }
    case "name": {
      if (!isObject(value) || typeof value.locale !== "string") return wrong(field, "{direction, locale} is expected")
      return { by, descending: directionOf(field, value.direction) }
    }
    default:
      return wrong(field, "is not a sort key")
  }
}
