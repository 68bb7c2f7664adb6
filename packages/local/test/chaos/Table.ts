import { isDeepStrictEqual } from "node:util"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { House } from "./House.ts"

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

const everything = { filter: { status: ["active", "inactive", "replaced"] }, sorting: { createdAt: "ASC" } }

const unsigned = (product: Product): Product => {
  const { embedUrl: _signed, ...meta } = product.meta as Record<string, unknown>
  return { ...product, meta }
}

/** What the table must hold once the source as it is now was published over `before`. */
export const published = (before: Table) =>
  Effect.flatMap(House, ({ simulatorUrl }) =>
    Effect.promise(async (): Promise<Table> => {
      const answer = await fetch(`${simulatorUrl}/v4/products/stream`, {
        method: "POST",
        headers: { authorization: `Basic ${btoa("1:simulator-secret-of-no-value")}` },
        body: JSON.stringify(everything)
      })
      if (answer.status !== 200) throw new Error(`The simulator answered ${answer.status}`)
      const lines = (await answer.text()).trimEnd().split("\n")
      const now = lines.map((line) => unsigned((JSON.parse(line) as { readonly result: Product }).result))
      const table = new Map([...before].map(([id, { raw }]): [string, Entry] => [id, { raw, removed: true }]))
      for (const raw of now) table.set(raw.id, { raw, removed: false })
      return table
    })
  )

/** The ids whose entries differ. */
export const differing = (a: Table, b: Table): ReadonlyArray<string> =>
  [...new Set([...a.keys(), ...b.keys()])].filter((id) => !isDeepStrictEqual(a.get(id), b.get(id))).sort()
