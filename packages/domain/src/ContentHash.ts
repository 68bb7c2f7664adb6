import { hash } from "node:crypto"
import { canonicalJson, isJsonObject, type JsonObject, makeShapes, objectText } from "./CanonicalJson.ts"

/**
 * Part of every hash. Raise it when a field is mapped differently (`ProductColumns.ts`, `SourceForms.ts`): every stored row then counts as changed once
 * and is written again.
 */
export const mappingVersion = 3

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
