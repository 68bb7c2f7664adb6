import type { ProductRow } from "@medipim/domain/Product"

/** The columns that come from the source, with the type to which their text is cast. */
export const productColumns: { readonly [K in keyof ProductRow]: string } = {
  id: "text",
  status: "text",
  replacement: "text",
  name: "text",
  seo_name: "text",
  artg_id: "text",
  pbs: "text",
  fred: "text",
  z_code: "text",
  snomed_mp: "text",
  snomed_mpp: "text",
  snomed_mpuu: "text",
  snomed_tp: "text",
  snomed_tpp: "text",
  snomed_tpuu: "text",
  snomed_ctpp: "text",
  supplier_reference: "text",
  hs_code: "text",
  ean: "text[]",
  ean_gtin8: "text",
  ean_gtin12: "text",
  ean_gtin13: "text",
  ean_gtin14: "text",
  organization: "text",
  brand: "text",
  gs1_category: "text",
  organization_ids: "int[]",
  brand_ids: "int[]",
  public_category_ids: "int[]",
  product_family_ids: "int[]",
  public_price_cents: "int",
  manufacturer_price_cents: "int",
  pharmacist_price_cents: "int",
  vat: "numeric",
  requires_legal_text: "boolean",
  biocide: "boolean",
  conservation: "text",
  official_deletion_at: "timestamptz",
  medipim_created_at: "timestamptz",
  medipim_updated_at: "timestamptz",
  raw: "jsonb",
  content_hash: "text"
}

export const columnNames = Object.keys(productColumns) as ReadonlyArray<keyof ProductRow>

const element = (value: string | number): string =>
  typeof value === "number" ? String(value) : `"${value.replaceAll(/["\\]/g, "\\$&")}"`

/** A value as Postgres reads it from text. */
export const columnText = (value: ProductRow[keyof ProductRow]): string | null => {
  if (value === null) return null
  return typeof value === "object" ? `{${value.map(element).join(",")}}` : String(value)
}
