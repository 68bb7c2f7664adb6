import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export type Row = Record<string, unknown> & {
  readonly id: string
  readonly xmin: string
  readonly removed_at: Date | null
  readonly last_run_id: string
}
/** `public.products` as it stands. */
export const rows = Effect.flatMap(SqlClient, (sql) => sql<Row>`SELECT xmin::text, * FROM public.products ORDER BY id`)
export const xmins = Effect.map(rows, (all) => new Map(all.map(({ id, xmin }) => [id, xmin])))
/** The ids of the rows that were written since. */
export const touchedSince = (before: ReadonlyMap<string, string>) =>
  Effect.map(rows, (all) => all.filter(({ id, xmin }) => before.get(id) !== xmin).map(({ id }) => id))
