/**
 * What a row should hold, worked out from the source a second time and in another way than the product does it: from
 * the table in docs/reference/medipim-api.md#the-product and the columns of `public.products`.
 */
type Source = Record<string, unknown>

const blank = (value: unknown): boolean =>
  value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0)

const asText = (value: unknown): string | null => (blank(value) ? null : String(value))
const english = (value: unknown): string | null =>
  blank(value) ? null : typeof value === "string" ? value : ((value as { readonly en: string }).en ?? null)
const list = (value: unknown): ReadonlyArray<Source> => (blank(value) ? [] : (value as ReadonlyArray<Source>))
const asInt = (value: unknown): number | null => (blank(value) ? null : Number(value))
const gtin = (value: unknown, digits: number): string | null =>
  typeof value === "number" ? String(value).padStart(digits, "0") : asText(value)
const seconds = (value: unknown): string | null => (blank(value) ? null : new Date(Number(value) * 1000).toISOString())
const ids = (value: unknown): ReadonlyArray<number> => list(value).map((one) => one.id as number)

export const rowOf = (source: Source): Record<string, unknown> => ({
  id: source.id,
  status: source.status,
  replacement: asText(source.replacement),
  name: english(source.name),
  seo_name: english(source.seoName),
  artg_id: asText(source.artgId),
  pbs: asText(source.pbs),
  fred: asText(source.fred),
  z_code: asText(source.zCode),
  snomed_mp: asText(source.snomedMp),
  snomed_mpp: asText(source.snomedMpp),
  snomed_mpuu: asText(source.snomedMpuu),
  snomed_tp: asText(source.snomedTp),
  snomed_tpp: asText(source.snomedTpp),
  snomed_tpuu: asText(source.snomedTpuu),
  snomed_ctpp: asText(source.snomedCtpp),
  supplier_reference: asText(source.supplierReference),
  hs_code: asText(source.hsCode),
  ean: list(source.ean).map(String),
  ean_gtin8: gtin(source.eanGtin8, 8),
  ean_gtin12: gtin(source.eanGtin12, 12),
  ean_gtin13: gtin(source.eanGtin13, 13),
  ean_gtin14: gtin(source.eanGtin14, 14),
  organization: english(list(source.organizations)[0]?.name),
  brand: english(list(source.brands)[0]?.name),
  gs1_category: blank(source.gs1Category) ? null : asText((source.gs1Category as Source).code),
  organization_ids: ids(source.organizations),
  brand_ids: ids(source.brands),
  public_category_ids: ids(source.publicCategories),
  product_family_ids: ids(source.productFamilies),
  public_price_cents: asInt(source.publicPrice),
  manufacturer_price_cents: asInt(source.manufacturerPrice),
  pharmacist_price_cents: asInt(source.pharmacistPrice),
  vat: blank(source.vat) ? null : String(source.vat),
  requires_legal_text: blank(source.requiresLegalText) ? null : source.requiresLegalText,
  biocide: blank(source.biocide) ? null : source.biocide,
  conservation: asText(source.conservation),
  official_deletion_at: seconds(source.officialDeletionAt),
  medipim_created_at: seconds((source.meta as Source).createdAt),
  medipim_updated_at: seconds((source.meta as Source).updatedAt)
})

/** Long numbers as `bigint`, so that no digit is lost on the way to the comparison. */
export const parse = (line: string): Source =>
  JSON.parse(line, ((_key: string, value: unknown, { source }: { readonly source?: string }) =>
    typeof value === "number" && /^\d{16,}$/.test(source ?? "") ? BigInt(source ?? "") : value) as (
    this: unknown,
    key: string,
    value: unknown
  ) => unknown) as Source
