import { hash } from "node:crypto"
import { canonicalJson, type JsonObject } from "./CanonicalJson.ts"

/**
 * Part of every hash. Raise it when `Product.ts` maps a field differently: every stored row then counts as changed once
 * and is written anew.
 */
export const mappingVersion = 1

/**
 * The product as it is stored: without `embedUrl`, which the source signs anew on every answer
 * (medipim-api-v4.md section 0.7). It stands in `meta`; the documents are unclear, so the top level is handled too.
 */
export const withoutEmbedUrl = (result: JsonObject): JsonObject => {
  const { embedUrl: _top, ...rest } = result
  const meta = rest.meta
  if (typeof meta !== "object" || meta === null || Array.isArray(meta)) return rest
  const { embedUrl: _signed, ...keptMeta } = meta as JsonObject
  return { ...rest, meta: keptMeta }
}

/** The stored text of a product and its hash: 64 hex digits, the same for every order of keys. */
export const contentOf = (result: JsonObject): { readonly raw: string; readonly hash: string } => {
  const raw = canonicalJson(withoutEmbedUrl(result))
  return { raw, hash: hash("sha256", `${mappingVersion}:${raw}`) }
}
