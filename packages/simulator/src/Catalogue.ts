import { chance } from "./Chance.ts"

export const statuses = ["active", "inactive", "replaced", "no_selection"] as const
export type Status = (typeof statuses)[number]

/** What filters and sorts need to know of a product; cheap to work out for a million of them. Times are unix seconds. */
export interface Facts {
  readonly index: number
  readonly id: string
  readonly status: Status
  readonly createdAt: number
  readonly updatedAt: number
  /** 0 as made; each update adds one and shows in the content. */
  readonly version: number
}

interface Change {
  readonly version: number
  readonly status?: Status
  readonly removed?: boolean
  readonly updatedAt: number
}

/** The first product came in February 2023, as in the real catalogue. */
const firstCreation = 1_676_380_000
const productsPerSecond = 24
const secondsBetween = 977
/** These products were created in bulk, in one second. */
const bulk = { from: 480, until: 900 }

const creationOf = (index: number): number => {
  const step = Math.floor((index >= bulk.from && index < bulk.until ? bulk.from : index) / productsPerSecond)
  return firstCreation + step * secondsBetween
}

/** `M` and nine hex digits. Odd factors keep the lower 32 bits distinct, so no two products share an id. */
export const idOf = (seed: number, index: number): string => {
  const low = (Math.imul(index, 0x9e3779b1) ^ chance(seed, 0, 1)) >>> 0
  const high = chance(seed, index, 2) & 0xf
  return `M${(high.toString(16) + low.toString(16).padStart(8, "0")).toUpperCase()}`
}

const statusOf = (seed: number, index: number): Status => {
  const percent = chance(seed, index, 3) % 100
  return percent < 86 ? "active" : percent < 96 ? "inactive" : "replaced"
}

/**
 * A catalogue of any size that is a function of its seed. Only what was changed since is held in memory.
 */
export const makeCatalogue = (seed: number, products: number) => {
  let size = products
  let touchedAt = 0
  let serial = 0
  const changes = new Map<number, Change>()

  const isThere = (index: number): boolean => changes.get(index)?.removed !== true

  const factsOf = (index: number): Facts => {
    const change = changes.get(index)
    const createdAt = creationOf(index)
    const updatedAt = change?.updatedAt ?? createdAt + (chance(seed, index, 4) % 30_000_000)
    return {
      index,
      id: idOf(seed, index),
      status: change?.status ?? statusOf(seed, index),
      createdAt,
      updatedAt: Math.max(updatedAt, touchedAt),
      version: change?.version ?? 0
    }
  }

  /** The products that pass, in the order of their creation. */
  const select = (passes: (facts: Facts) => boolean): Uint32Array => {
    const found = new Uint32Array(size)
    let count = 0
    for (let index = 0; index < size; index++) {
      if (isThere(index) && passes(factsOf(index))) found[count++] = index
    }
    return found.slice(0, count)
  }

  const change = (index: number, now: number, how: Omit<Partial<Change>, "updatedAt">): string => {
    const { version, updatedAt } = factsOf(index)
    // Two changes in one second still move the time forward.
    changes.set(index, { ...changes.get(index), version, ...how, updatedAt: Math.max(now, updatedAt + 1) })
    return idOf(seed, index)
  }

  /** Products that pass, drawn again at every call, each once. */
  const pick = (count: number, passes: (facts: Facts) => boolean): ReadonlyArray<number> => {
    const candidates = select(passes)
    serial += 1
    const picked = new Set<number>()
    for (let i = 0; picked.size < Math.min(count, candidates.length); i++) {
      picked.add(candidates[chance(seed + serial, i, 5) % candidates.length] as number)
    }
    return [...picked]
  }

  const indexOf = (id: string): number | undefined => {
    for (let index = 0; index < size; index++) if (idOf(seed, index) === id) return index
    return undefined
  }

  return {
    seed,
    /** As many as it began with. */
    products,
    factsOf,
    select,
    indexOf,
    isThere,
    pick,
    size: () => size,
    removed: () => size - select(() => true).length,
    update: (index: number, now: number) => change(index, now, { version: factsOf(index).version + 1 }),
    remove: (index: number, now: number) => change(index, now, { removed: true }),
    restore: (index: number, now: number) => change(index, now, { removed: false }),
    setStatus: (index: number, now: number, status: Status) => change(index, now, { status }),
    add: (count: number): ReadonlyArray<string> => {
      size += count
      return Array.from({ length: count }, (_, i) => idOf(seed, size - count + i))
    },
    touchAll: (now: number) => {
      touchedAt = Math.max(now, touchedAt + 1)
    }
  }
}
export type Catalogue = ReturnType<typeof makeCatalogue>
