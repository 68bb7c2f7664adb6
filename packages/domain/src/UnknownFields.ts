import { Schema } from "effect"
import { type SourceColumn, sourceColumns } from "./ProductColumns.ts"

/** A field of the source that came in an unknown shape: for how many products, and the id of one of them. */
export const UnknownField = Schema.Struct({
  field: Schema.String,
  products: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  example: Schema.String
})
export type UnknownField = typeof UnknownField.Type

/** The fields behind these columns of a product, each once. */
export const fieldsOf = (columns: ReadonlyArray<SourceColumn>): ReadonlyArray<string> => [
  ...new Set(columns.map((column) => sourceColumns[column].field))
]

/** Adds up what was counted apart; the field of most products comes first. */
export const sumFields = (counted: Iterable<UnknownField>): ReadonlyArray<UnknownField> => {
  const sums = new Map<string, UnknownField>()
  for (const { field, products, example } of counted) {
    const before = sums.get(field)
    sums.set(field, { field, products: products + (before?.products ?? 0), example: before?.example ?? example })
  }
  return [...sums.values()].sort((a, b) => b.products - a.products || (a.field < b.field ? -1 : 1))
}
