import { Schema } from "effect"
import { type Catalogue, type Facts, statuses } from "./Catalogue.ts"
import { Fault, type Faults } from "./Faults.ts"
import { resultOf } from "./Product.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Ids = Schema.Array(Schema.String)

/** What happens to the catalogue: so many products, drawn again at every call, or these ones. */
const Changes = Schema.Struct({
  update: Schema.optionalKey(Count),
  remove: Schema.optionalKey(Count),
  deactivate: Schema.optionalKey(Count),
  /** Moves active products to `no_selection`, the status that no filter of ours names. */
  deselect: Schema.optionalKey(Count),
  add: Schema.optionalKey(Count),
  /** Moves `updatedAt` of every product, as a bulk job at MediPim does. */
  touch: Schema.optionalKey(Schema.Boolean),
  ids: Schema.optionalKey(
    Schema.Struct({
      update: Schema.optionalKey(Ids),
      remove: Schema.optionalKey(Ids),
      deactivate: Schema.optionalKey(Ids),
      restore: Schema.optionalKey(Ids)
    })
  )
})
type Changes = typeof Changes.Type

const strict = { errors: "all", onExcessProperty: "error" } as const
const decodeChanges = Schema.decodeUnknownSync(Changes, strict)
const decodeFault = Schema.decodeUnknownSync(Fault, strict)

const nowSeconds = (): number => Math.floor(Date.now() / 1000)

const isActive = ({ status }: Facts): boolean => status === "active"
const isAny = (): boolean => true

/** Does the changes and answers the ids that they hit; no product is hit twice by the counts of one call. */
const applyChanges = (
  catalogue: Catalogue,
  { update = 0, remove = 0, deactivate = 0, deselect = 0, add = 0, touch, ids }: Changes
) => {
  const now = nowSeconds()
  const hit = new Set<number>()
  const pick = (count: number, passes: (facts: Facts) => boolean): ReadonlyArray<number> => {
    const picked = count === 0 ? [] : catalogue.pick(count, (facts) => passes(facts) && !hit.has(facts.index))
    for (const index of picked) hit.add(index)
    return picked
  }
  const named = (list: ReadonlyArray<string> | undefined): ReadonlyArray<number> =>
    (list ?? []).map(catalogue.indexOf).filter((index) => index !== undefined)
  if (touch === true) catalogue.touchAll(now)
  return {
    touched: touch === true ? catalogue.size() : 0,
    updated: [...pick(update, isAny), ...named(ids?.update)].map((index) => catalogue.update(index, now)),
    deactivated: [...pick(deactivate, isActive), ...named(ids?.deactivate)].map((index) =>
      catalogue.setStatus(index, now, "inactive")
    ),
    deselected: pick(deselect, isActive).map((index) => catalogue.setStatus(index, now, "no_selection")),
    removed: [...pick(remove, isAny), ...named(ids?.remove)].map((index) => catalogue.remove(index, now)),
    restored: named(ids?.restore).map((index) => catalogue.restore(index, now)),
    added: catalogue.add(add)
  }
}

const overview = (catalogue: Catalogue, requests: number) => {
  const byStatus = Object.fromEntries(statuses.map((status) => [status, 0])) as Record<Facts["status"], number>
  const found = catalogue.select(isAny)
  for (const index of found) byStatus[catalogue.factsOf(index).status] += 1
  return { products: found.length, removed: catalogue.removed(), byStatus, seed: catalogue.seed, requests }
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

const ok = (body: unknown): Answer => ({ status: 200, body })

/** How many faults wait for their request, and how many have come about since the start. */
const faultsAnswer = (faults: Faults): Answer => ok({ armed: faults.armed(), struck: faults.struck() })

/** The routes that tests and demonstrations use to change what MediPim says. */
export const control = (
  {
    catalogue,
    faults,
    requests
  }: { readonly catalogue: Catalogue; readonly faults: Faults; readonly requests: number },
  route: string,
  body: unknown
): Answer => {
  const product = /^GET \/control\/products\/(\w+)$/.exec(route)?.[1]
  if (product !== undefined) {
    const index = catalogue.indexOf(product)
    return index === undefined || !catalogue.isThere(index)
      ? { status: 404, body: { error: `there is no product ${product}` } }
      : ok(resultOf(catalogue.seed, catalogue.products, catalogue.factsOf(index)))
  }
  try {
    switch (route) {
      case "GET /control/catalogue":
        return ok(overview(catalogue, requests))
      case "POST /control/changes":
        return ok(applyChanges(catalogue, decodeChanges(body)))
      case "GET /control/faults":
        return faultsAnswer(faults)
      case "POST /control/faults":
        faults.arm(decodeFault(body))
        return faultsAnswer(faults)
      case "DELETE /control/faults":
        faults.clear()
        return faultsAnswer(faults)
      default:
        return { status: 404, body: { error: `there is no ${route}` } }
    }
  } catch (error) {
    return { status: 400, body: { error: (error as Error).message } }
  }
}

/** Changes products while a stream is being sent: those that were not sent yet are sent changed. */
export const changeMidStream = (catalogue: Catalogue): void => {
  applyChanges(catalogue, { update: 20 })
}
