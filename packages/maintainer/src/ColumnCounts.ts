import { type SourceColumn, sourceColumns } from "@medipim/domain/ProductColumns"
import { Schema } from "effect"

/** How many rows a condition on one column is true for, and the smallest id among them. */
export interface ColumnCount<Column> {
  readonly column: Column
  readonly rows: number
  readonly example: string
}

/** The select list that counts, for each column, the rows for which its condition is true. One scan does all columns. */
export const countsByColumn = <Column extends string>(
  columns: ReadonlyArray<Column>,
  condition: (column: Column) => string,
  id: string
): string => {
  const conditions = columns.map(condition)
  return `ARRAY[${conditions.map((one) => `count(*) FILTER (WHERE ${one})`).join(", ")}]::int[] AS counts,
    ARRAY[${conditions.map((one) => `min(${id}) FILTER (WHERE ${one})`).join(", ")}] AS examples`
}

export const CountedColumns = Schema.Struct({
  counts: Schema.Array(Schema.Int),
  examples: Schema.Array(Schema.NullOr(Schema.String))
})
export type CountedColumns = typeof CountedColumns.Type

/** The columns for which there was such a row. */
export const columnsOf = <Column extends string>(
  columns: ReadonlyArray<Column>,
  { counts, examples }: CountedColumns
): ReadonlyArray<ColumnCount<Column>> =>
  columns.flatMap((column, place) => {
    const rows = counts[place] ?? 0
    return rows === 0 ? [] : [{ column, rows, example: examples[place] ?? "" }]
  })

export const sourceColumnNames = Object.keys(sourceColumns) as ReadonlyArray<SourceColumn>

/** SQL that is true when the column of this table has a value. */
export const hasValue = (table: string, column: SourceColumn): string =>
  sourceColumns[column].type.endsWith("[]") ? `cardinality(${table}.${column}) > 0` : `${table}.${column} IS NOT NULL`
