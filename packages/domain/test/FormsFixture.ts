import type { JsonObject } from "@medipim/domain/CanonicalJson"
import { decodeProduct } from "@medipim/domain/Product"
import { type SourceColumn, sourceColumns } from "@medipim/domain/ProductColumns"
import { Result } from "effect"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** Every column of one field, as its rows show them. */
export const decoded = (result: Record<string, Json>) => {
  const product = decodeProduct({ id: "M1", ...result } as JsonObject)
  if (Result.isFailure(product)) throw new Error(product.failure)
  return product.success
}

export const columns = Object.keys(sourceColumns) as ReadonlyArray<SourceColumn>
export const columnsOf = (field: string) => columns.filter((column) => sourceColumns[column].field === field)
export const resultWith = (field: string, value: Json): Record<string, Json> => {
  const [first = "", inner] = field.split(".")
  return inner === undefined ? { [first]: value } : { [first]: { [inner]: value } }
}

export const fields = [...new Set(columns.map((column) => sourceColumns[column].field))]
export const isNothing = (value: unknown): boolean => value === null || (Array.isArray(value) && value.length === 0)
