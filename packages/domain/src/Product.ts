import { Result, Schema } from "effect"
import type { Json, JsonObject } from "./CanonicalJson.ts"
import { contentOf } from "./ContentHash.ts"
import * as Form from "./SourceForms.ts"

/**
 * The product as MediPim sends it (medipim-api-v4.md section 6): the keys that become columns. All other keys pass
 * unseen and are kept in `raw`.
 */
export const SourceProduct = Schema.Struct({
  id: Schema.Union([Schema.NonEmptyString.check(Schema.isMaxLength(Form.longestKey)), Schema.Int]),
  status: Form.Text,
  replacement: Form.Text,
  name: Form.Localised,
  seoName: Form.Localised,
  artgId: Form.Key,
  pbs: Form.Key,
  fred: Form.Text,
  zCode: Form.Text,
  snomedMp: Form.Text,
  snomedMpp: Form.Text,
  snomedMpuu: Form.Text,
  snomedTp: Form.Text,
  snomedTpp: Form.Text,
  snomedTpuu: Form.Text,
  snomedCtpp: Form.Text,
  supplierReference: Form.Text,
  hsCode: Form.Text,
  ean: Form.Codes,
  eanGtin8: Form.Text,
  eanGtin12: Form.Text,
  eanGtin13: Form.Text,
  eanGtin14: Form.Key,
  organizations: Form.Entities,
  brands: Form.Entities,
  publicCategories: Form.Entities,
  productFamilies: Form.Entities,
  gs1Category: Form.Coded,
  publicPrice: Form.Int,
  manufacturerPrice: Form.Int,
  pharmacistPrice: Form.Int,
  vat: Form.Float,
  requiresLegalText: Form.Flag,
  biocide: Form.Flag,
  conservation: Form.Text,
  officialDeletionAt: Form.UnixSeconds,
  meta: Schema.optionalKey(
    Schema.Union([
      Schema.Struct({ createdAt: Form.UnixSeconds, updatedAt: Form.UnixSeconds }),
      Schema.Null,
      Schema.Tuple([])
    ])
  )
})

/** A product as the columns of `public.products` hold it. Times are ISO text, prices integer cents, `vat` percent. */
export interface ProductRow {
  readonly id: string
  readonly status: string | null
  readonly replacement: string | null
  readonly name: string | null
  readonly seo_name: string | null
  readonly artg_id: string | null
  readonly pbs: string | null
  readonly fred: string | null
  readonly z_code: string | null
  readonly snomed_mp: string | null
  readonly snomed_mpp: string | null
  readonly snomed_mpuu: string | null
  readonly snomed_tp: string | null
  readonly snomed_tpp: string | null
  readonly snomed_tpuu: string | null
  readonly snomed_ctpp: string | null
  readonly supplier_reference: string | null
  readonly hs_code: string | null
  readonly ean: ReadonlyArray<string>
  readonly ean_gtin8: string | null
  readonly ean_gtin12: string | null
  readonly ean_gtin13: string | null
  readonly ean_gtin14: string | null
  readonly organization: string | null
  readonly brand: string | null
  readonly gs1_category: string | null
  readonly organization_ids: ReadonlyArray<number>
  readonly brand_ids: ReadonlyArray<number>
  readonly public_category_ids: ReadonlyArray<number>
  readonly product_family_ids: ReadonlyArray<number>
  readonly public_price_cents: number | null
  readonly manufacturer_price_cents: number | null
  readonly pharmacist_price_cents: number | null
  readonly vat: number | null
  readonly requires_legal_text: boolean | null
  readonly biocide: boolean | null
  readonly conservation: string | null
  readonly official_deletion_at: string | null
  readonly medipim_created_at: string | null
  readonly medipim_updated_at: string | null
  /** The whole result without `embedUrl`, as canonical JSON text. */
  readonly raw: string
  /** 64 hex digits, see `ContentHash.ts`. */
  readonly content_hash: string
}

const rowOf = (id: string, s: JsonObject, raw: string, content_hash: string): ProductRow => {
  const meta = s.meta as { readonly [key: string]: Json } | null | undefined
  return {
    id,
    status: Form.text(s.status),
    replacement: Form.text(s.replacement),
    name: Form.localised(s.name),
    seo_name: Form.localised(s.seoName),
    artg_id: Form.text(s.artgId),
    pbs: Form.text(s.pbs),
    fred: Form.text(s.fred),
    z_code: Form.text(s.zCode),
    snomed_mp: Form.text(s.snomedMp),
    snomed_mpp: Form.text(s.snomedMpp),
    snomed_mpuu: Form.text(s.snomedMpuu),
    snomed_tp: Form.text(s.snomedTp),
    snomed_tpp: Form.text(s.snomedTpp),
    snomed_tpuu: Form.text(s.snomedTpuu),
    snomed_ctpp: Form.text(s.snomedCtpp),
    supplier_reference: Form.text(s.supplierReference),
    hs_code: Form.text(s.hsCode),
    ean: Form.codes(s.ean),
    ean_gtin8: Form.padded(s.eanGtin8, 8),
    ean_gtin12: Form.padded(s.eanGtin12, 12),
    ean_gtin13: Form.padded(s.eanGtin13, 13),
    ean_gtin14: Form.padded(s.eanGtin14, 14),
    organization: Form.firstName(s.organizations),
    brand: Form.firstName(s.brands),
    gs1_category: Form.code(s.gs1Category),
    organization_ids: Form.entityIds(s.organizations),
    brand_ids: Form.entityIds(s.brands),
    public_category_ids: Form.entityIds(s.publicCategories),
    product_family_ids: Form.entityIds(s.productFamilies),
    public_price_cents: Form.number(s.publicPrice),
    manufacturer_price_cents: Form.number(s.manufacturerPrice),
    pharmacist_price_cents: Form.number(s.pharmacistPrice),
    vat: Form.number(s.vat),
    requires_legal_text: Form.flag(s.requiresLegalText),
    biocide: Form.flag(s.biocide),
    conservation: Form.text(s.conservation),
    official_deletion_at: Form.time(s.officialDeletionAt),
    medipim_created_at: Form.time(meta?.createdAt),
    medipim_updated_at: Form.time(meta?.updatedAt),
    raw,
    content_hash
  }
}

const decodeSource = Schema.decodeUnknownResult(SourceProduct, { errors: "all" })

/** The id of a result, when it has a usable one: a rejected line that names its product keeps it from removal. */
export const idOf = (result: JsonObject): string | undefined => Form.text(result.id) ?? undefined

/** Escapes of NUL and of half surrogates: legal JSON that neither `text` nor `jsonb` of Postgres can hold. */
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

/** Maps a result to its row, or says why it cannot, naming every field that is wrong. Never throws. */
export const decodeProduct = (result: JsonObject): Result.Result<ProductRow, string> => {
  const source = decodeSource(result)
  if (Result.isFailure(source)) return Result.fail(source.failure.message.replaceAll(/\s+/g, " ").slice(0, 1000))
  try {
    const { raw, hash } = contentOf(result)
    return raw.includes("\\u") && unstorable.test(raw)
      ? Result.fail("holds U+0000 or half a surrogate pair, which Postgres cannot store")
      : Result.succeed(rowOf(String(result.id), result, raw, hash))
  } catch (error) {
    return Result.fail(`cannot be stored: ${(error as Error).message}`)
  }
}
