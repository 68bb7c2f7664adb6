import { isDeepStrictEqual } from "node:util"
import { makeLineSplitter } from "@medipim/domain/LineSplitter"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Environment } from "./Environment.ts"

interface Product extends Record<string, unknown> {
  readonly id: string
}
interface Entry {
  readonly raw: Product
  readonly removed: boolean
}
export type Table = ReadonlyMap<string, Entry>

/** Most products are the same from run to run: each text is parsed once, and each pair compared once. */
const parsed = new Map<string, Product>()
const equals = new WeakMap<Product, WeakSet<Product>>()

const isSame = (a: Product, b: Product): boolean => {
  if (a === b || equals.get(a)?.has(b) === true) return true
  if (!isDeepStrictEqual(a, b)) return false
  const others = equals.get(a) ?? new WeakSet()
  equals.set(a, others.add(b))
  return true
}

/** `public.products` as it stands; only rows that were never seen like this are read whole. */
export const stored = Effect.gen(function* () {
  const sql = yield* SqlClient
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
      const rows = yield* sql<{ readonly id: string; readonly key: string; readonly removed: boolean }>`
        SELECT id, 'md5 ' || md5(raw::text) AS key, removed_at IS NOT NULL AS removed FROM public.products`
      const unseen = rows.filter(({ key }) => !parsed.has(key)).map(({ id }) => id)
      const read = yield* sql<{ readonly key: string; readonly raw: Product }>`
        SELECT 'md5 ' || md5(raw::text) AS key, raw FROM public.products WHERE id = ANY(${unseen}::text[])`
      for (const { key, raw } of read) parsed.set(key, raw)
      return new Map(
        rows.map(({ id, key, removed }): [string, Entry] => [id, { raw: parsed.get(key) as Product, removed }])
      ) as Table
    })
  )
})

const unsigned = (product: Product): Product => {
  const { embedUrl: _signed, ...meta } = product.meta as Record<string, unknown>
  return { ...product, meta }
}

/** The product of a line of the stream; its place and the signed address are new in every answer. */
const productOf = (line: string): Product => {
  const key = line.replace(/^\{"meta":\{[^}]*\},/, "").replace(/"embedUrl":"[^"]*"/, "")
  const product = parsed.get(key) ?? unsigned((JSON.parse(line) as { readonly result: Product }).result)
  parsed.set(key, product)
  return product
}

/** What the table must hold once the source as it is now was published over `before`. */
export const published = (before: Table) =>
  Effect.gen(function* () {
    const { stream } = yield* Environment
    const table = new Map([...before].map(([id, { raw }]): [string, Entry] => [id, { raw, removed: true }]))
    for (const line of makeLineSplitter().push(yield* stream)) {
      const raw = productOf(line.toString())
      table.set(raw.id, { raw, removed: false })
    }
    return table as Table
  })

/** `table`, but for these products: they stay as they were before. */
export const keeping = (ids: ReadonlyArray<string>, before: Table, table: Table): Table => {
  const kept = new Map(table)
  for (const id of ids) {
    const row = before.get(id)
    if (row === undefined) kept.delete(id)
    else kept.set(id, row)
  }
  return kept
}

const isLike = (a: Entry | undefined, b: Entry | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a.removed === b.removed && isSame(a.raw, b.raw)

/** The kinds of changes that a publish makes. */
export const kinds = ["inserted", "updated", "restored", "removed"] as const

const kindOf = (before: Entry | undefined, now: Entry | undefined): (typeof kinds)[number] => {
  if (before === undefined) return "inserted"
  if (now === undefined || now.removed) return "removed"
  return before.removed ? "restored" : "updated"
}

/** What was done to which product, as `kind id`. */
export const changesOf = (before: Table, now: Table): ReadonlyArray<string> =>
  differing(before, now).map((id) => `${kindOf(before.get(id), now.get(id))} ${id}`)

/** The ids whose entries are like those of none of the others. */
export const differing = (table: Table, ...others: ReadonlyArray<Table>): ReadonlyArray<string> =>
  [...new Set([table, ...others].flatMap((one) => [...one.keys()]))]
    .filter((id) => !others.some((other) => isLike(table.get(id), other.get(id))))
    .sort()
