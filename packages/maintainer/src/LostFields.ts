import type { RunId } from "@medipim/domain/Ids"
import { type SourceColumn, sourceColumns } from "@medipim/domain/ProductColumns"
import type { LostField } from "@medipim/domain/PublishRules"
import { rowAs } from "@medipim/platform/database/Postgres"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CountedColumns, columnsOf, countsByColumn, hasValue, sourceColumnNames } from "./ColumnCounts.ts"

const lost = countsByColumn(
  sourceColumnNames,
  (column) => `${hasValue("p", column)} AND NOT (${hasValue("s", column)})`,
  "s.id"
)
/** Products that get a value and had none. New ones do not count: they come every night, with all fields. */
const gained = countsByColumn(
  sourceColumnNames,
  (column) => `${hasValue("s", column)} AND NOT (${hasValue("p", column)})`,
  "s.id"
)
const held = countsByColumn(sourceColumnNames, (column) => hasValue("p", column), "p.id")

const rowsOf = (counted: CountedColumns): ReadonlyMap<SourceColumn, number> =>
  new Map(columnsOf(sourceColumnNames, counted).map(({ column, rows }) => [column, rows]))

/**
 * The fields that the products of the run have lost, with how many have them now. What others have gained is taken off:
 * a catalogue that is changed as a whole loses nothing.
 */
export const lostFields = Effect.fn("LostFields.lostFields")(function* (runId: RunId) {
  const sql = yield* SqlClient
  const losses = yield* sql
    .unsafe(
      `SELECT ${lost} FROM medipim.stage_products AS s JOIN public.products AS p USING (id)
    WHERE s.run_id = $1 AND s.change = 'updated'`,
      [runId]
    )
    .pipe(rowAs(CountedColumns))
  const losing = columnsOf(sourceColumnNames, losses)
  if (losing.length === 0) return []
  const holders = yield* sql
    .unsafe(`SELECT ${held} FROM public.products AS p WHERE p.removed_at IS NULL`)
    .pipe(rowAs(CountedColumns))
  const gains = yield* sql
    .unsafe(
      `SELECT ${gained} FROM medipim.stage_products AS s JOIN public.products AS p USING (id)
    WHERE s.run_id = $1 AND s.change = 'updated'`,
      [runId]
    )
    .pipe(rowAs(CountedColumns))
  const [heldBy, gainedBy] = [rowsOf(holders), rowsOf(gains)]
  const fields = new Map<string, LostField>()
  for (const { column, rows, example } of losing) {
    const field = fieldOf(column)
    const products = rows - (gainedBy.get(column) ?? 0)
    // Two columns may come from one field.
    if (products > (fields.get(field)?.products ?? 0)) {
      fields.set(field, { field, products, example, holders: heldBy.get(column) ?? rows })
    }
  }
  return [...fields.values()]
})

const fieldOf = (column: SourceColumn): string => sourceColumns[column].field
