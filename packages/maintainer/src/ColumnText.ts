import type { ProductRow } from "@medipim/domain/ProductColumns"

const element = (value: string | number): string =>
  typeof value === "number" ? String(value) : `"${value.replaceAll(/["\\]/g, "\\$&")}"`

/** A value as Postgres reads it from text. */
export const columnText = (value: ProductRow[keyof ProductRow]): string | null => {
  if (value === null) return null
  return typeof value === "object" ? `{${value.map(element).join(",")}}` : String(value)
}
