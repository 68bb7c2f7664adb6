import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { createGunzip } from "node:zlib"
import type { Catalogue } from "./Catalogue.ts"
import { filterOf, type Order, orderOf } from "./Filter.ts"
import { lineOf, resultOf } from "./Product.ts"

/** The lines of one answer, in order; each is made when it is asked for. */
export interface Selection {
  readonly total: number
  readonly lines: () => AsyncIterable<string> | Iterable<string>
}

/** What answers a request for products. */
export interface Source {
  readonly select: (filter: unknown, sorting: unknown) => Promise<Selection>
}

const nameOf = (result: Record<string, unknown>): string => {
  const name = result.name
  return typeof name === "string" ? name : String((name as { readonly en?: string } | undefined)?.en ?? "")
}

const sorted = (catalogue: Catalogue, found: Uint32Array, { by, descending }: Order): Uint32Array => {
  // The order of creation is the order of the index.
  if (by === "touchedAt") {
    const times = new Map(Array.from(found, (index) => [index, catalogue.factsOf(index).updatedAt]))
    found.sort((a, b) => (times.get(a) as number) - (times.get(b) as number))
  } else if (by !== "createdAt") {
    const keyOf = (index: number): string => {
      const facts = catalogue.factsOf(index)
      return by === "id" ? facts.id : nameOf(resultOf(catalogue.seed, catalogue.products, facts))
    }
    const keys = new Map(Array.from(found, (index) => [index, keyOf(index)]))
    found.sort((a, b) => ((keys.get(a) as string) < (keys.get(b) as string) ? -1 : 1))
  }
  return descending ? found.reverse() : found
}

/** Indexes of the products of an answer. */
export const selectIndexes = (catalogue: Catalogue, filter: unknown, sorting: unknown, inclusive: boolean) =>
  sorted(catalogue, catalogue.select(filterOf(filter, inclusive)), orderOf(sorting))

export const catalogueSource = (catalogue: Catalogue, inclusive: boolean): Source => ({
  select: (filter, sorting) => {
    const found = selectIndexes(catalogue, filter, sorting, inclusive)
    const total = found.length
    function* lines() {
      for (let i = 0; i < total; i++) {
        const facts = catalogue.factsOf(found[i] as number)
        yield lineOf(catalogue.seed, catalogue.products, facts, i, total)
      }
    }
    return Promise.resolve({ total, lines })
  }
})

const linesOf = (file: string) => {
  const bytes = createReadStream(file)
  return createInterface({
    input: file.endsWith(".gz") ? bytes.pipe(createGunzip()) : bytes,
    crlfDelay: Number.POSITIVE_INFINITY
  })
}

const wrapped = /^\{"meta":\{"total":\d+,"index":\d+\},"result":(.*)\}$/s

/** Serves a file of NDJSON, plain or gzip: products, or lines of the stream, which are numbered again. */
export const fileSource = (file: string): Source => ({
  select: async () => {
    let total = 0
    for await (const line of linesOf(file)) if (line !== "") total += 1
    async function* lines() {
      let index = 0
      for await (const line of linesOf(file)) {
        if (line === "") continue
        yield `{"meta":{"total":${total},"index":${index++}},"result":${wrapped.exec(line)?.[1] ?? line}}\n`
      }
    }
    return { total, lines }
  }
})
