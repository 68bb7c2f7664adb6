import { hash } from "node:crypto"
import { canonicalJson, isJsonObject, type JsonObject, makeShapes, objectText } from "./CanonicalJson.ts"
import { type Column, sourceColumns } from "./ProductColumns.ts"

/** Raise it when a reader of `SourceForms.ts` gives another value for the same source. */
const readers = 3

/** The version of a mapping: another one when a column is added, dropped, or read from elsewhere or by another reader. */
export const versionOf = (columns: Readonly<Record<string, Column<unknown>>>): string => {
  const mapping = Object.entries(columns).map(([name, { field, type, read }]) => [name, field, type, read.name])
  return `${readers}.${hash("sha256", JSON.stringify(mapping)).slice(0, 8)}`
}

/**
 * Part of every hash: once the mapping has changed, every stored row counts as changed, and the next sync writes it again, also
 * when its line is the same.
 */
export const mappingVersion = versionOf(sourceColumns)

const unsigned = makeShapes("embedUrl")

/**
 * The product as it is stored: without `embedUrl`, which the source signs again for every answer
 * (docs/reference/medipim-api.md#the-product). It stands in `meta`; the documents are unclear, so the top level is handled too.
 */
const storedText = (result: JsonObject): string =>
  objectText(result, unsigned, (key, entry) =>
    key === "meta" && isJsonObject(entry)
      ? objectText(entry, unsigned, (_key, inner) => canonicalJson(inner, 2))
      : canonicalJson(entry, 1)
  )

/** The stored text of a product and its hash: 64 hex digits, the same for every order of keys. */
export const contentOf = (result: JsonObject): { readonly raw: string; readonly hash: string } => {
  const raw = storedText(result)
  return { raw, hash: hash("sha256", `${mappingVersion}:${raw}`) }
}
