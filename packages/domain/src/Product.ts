import { Result } from "effect"
import { ExactNumber, type Json, type JsonObject } from "./CanonicalJson.ts"
import { contentOf } from "./ContentHash.ts"
import { type Column, type ProductRow, type SourceColumn, sourceColumns } from "./ProductColumns.ts"
import { longestKey, unknownShape } from "./SourceForms.ts"

/** A product that was read. Columns in `unknown` came in an unknown shape: the row holds an empty value there. */
export interface Product {
  readonly row: ProductRow
  readonly unknown: ReadonlyArray<SourceColumn>
}

const idText = (id: Json | undefined): string | undefined => {
  if (typeof id === "string") return id
  if (id instanceof ExactNumber) return /^\d+$/.test(id.text) ? id.text : undefined
  return Number.isSafeInteger(id) ? String(id) : undefined
}

/** The id of a result, when it has one: a rejected line that names its product keeps it from removal. */
export const idOf = (result: JsonObject): string | undefined => {
  const id = idText(result.id)
  return id === undefined || id.trim() === "" ? undefined : id
}

/** Escapes of NUL and of half surrogates: legal JSON that neither `text` nor `jsonb` of Postgres can hold. */
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

const columns = Object.entries(sourceColumns) as ReadonlyArray<readonly [SourceColumn, Column<unknown>]>

/**
 * Reads a result, or says why its line must be rejected: it has no usable id, or Postgres cannot store it. A field in an
 * unknown shape rejects nothing but itself. Never throws.
 */
export const decodeProduct = (result: JsonObject): Result.Result<Product, string> => {
  const id = idOf(result)
  if (id === undefined) return Result.fail("the product has no id: text or a whole number is expected")
  if (id.length > longestKey) return Result.fail(`the id of the product is longer than ${longestKey} characters`)
  try {
    const { raw, hash } = contentOf(result)
    if (raw.includes("\\u") && unstorable.test(raw)) {
      return Result.fail("holds U+0000 or half a surrogate pair, which Postgres cannot store")
    }
    const row: Record<string, unknown> = { id, raw, content_hash: hash }
    const unknown: Array<SourceColumn> = []
    for (const [name, column] of columns) {
      const source = column.value(result)
      const value = source === unknownShape ? unknownShape : column.read(source)
      if (value === unknownShape) unknown.push(name)
      row[name] = value === unknownShape ? column.empty : value
    }
    return Result.succeed({ row: row as ProductRow, unknown })
  } catch (error) {
    return Result.fail(`cannot be stored: ${(error as Error).message}`)
  }
}
