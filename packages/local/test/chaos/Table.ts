import { isDeepStrictEqual } from "node:util"
import { makeLineSplitter } from "@medipim/domain/LineSplitter"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { House } from "./House.ts"
import { download } from "./Source.ts"

interface Product extends Record<string, unknown> {
  readonly id: string
}
interface Entry {
  readonly raw: Product
  readonly removed: boolean
}
export type Table = ReadonlyMap<string, Entry>

/** `public.products` as it stands. */
export const stored = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(
    sql<Entry & { readonly id: string }>`SELECT id, raw, removed_at IS NOT NULL AS removed FROM public.products`,
    (rows): Table => new Map(rows.map(({ id, raw, removed }) => [id, { raw, removed }]))
  )
)

const unsigned = (product: Product): Product => {
  const { embedUrl: _signed, ...meta } = product.meta as Record<string, unknown>
  return { ...product, meta }
}

/** What the table must hold once the source as it is now was published over `before`. */
export const published = (before: Table) =>
  Effect.flatMap(House, ({ simulatorUrl }) =>
    Effect.promise(async (): Promise<Table> => {
      const lines = makeLineSplitter().push(await download(simulatorUrl))
      const now = lines.map((line) => unsigned((JSON.parse(line.toString()) as { readonly result: Product }).result))
      const table = new Map([...before].map(([id, { raw }]): [string, Entry] => [id, { raw, removed: true }]))
      for (const raw of now) table.set(raw.id, { raw, removed: false })
      return table
    })
  )

/** The ids whose entries are like those of none of the others. */
export const differing = (table: Table, ...others: ReadonlyArray<Table>): ReadonlyArray<string> =>
  [...new Set([table, ...others].flatMap((one) => [...one.keys()]))]
    .filter((id) => !others.some((other) => isDeepStrictEqual(table.get(id), other.get(id))))
    .sort()
