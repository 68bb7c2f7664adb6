import { isJsonObject, type Json, type JsonObject } from "./CanonicalJson.ts"
import * as Form from "./SourceForms.ts"

/** A column of `public.products` that is filled from the source. */
export interface Column<A> {
  /** The field of the product that it is read from, as people name it; inside `meta` with a dot. */
  readonly field: string
  /** Type of the column in Postgres. */
  readonly type: string
  readonly value: (result: JsonObject) => Json | undefined | typeof Form.unknownShape
  readonly read: Form.Read<A>
  /** What the column of a new product holds when its value is not understood. */
  readonly empty: A
}

type Source = Pick<Column<unknown>, "field" | "value">
const from = (field: string): Source => ({ field, value: (result) => result[field] })

/** Inside `meta`. One that is no object has an unknown shape, and so has what should be in it. */
const fromMeta = (key: string): Source => ({
  field: `meta.${key}`,
  value: ({ meta }) => {
    const found = Form.single(meta)
    if (found === undefined || found === Form.unknownShape) return found
    return isJsonObject(found) ? found[key] : Form.unknownShape
  }
})

const text = (source: Source, read = Form.text): Column<string | null> => ({
  ...source,
  type: "text",
  read,
  empty: null
})
const cents = (source: Source): Column<number | null> => ({ ...source, type: "int", read: Form.int, empty: null })
const ids = (source: Source): Column<ReadonlyArray<number>> => ({
  ...source,
  type: "int[]",
  read: Form.ids,
  empty: []
})
const flag = (source: Source): Column<boolean | null> => ({ ...source, type: "boolean", read: Form.flag, empty: null })
const time = (source: Source): Column<string | null> => ({
  ...source,
  type: "timestamptz",
  read: Form.time,
  empty: null
})

/**
 * Every column of `public.products` that the source fills, and how (docs/reference/medipim-api.md#the-product). All other fields of a
 * product are kept in `raw` alone. Times are ISO text, prices integer cents, `vat` as the source sends it.
 */
export const sourceColumns = {
  status: text(from("status")),
  replacement: text(from("replacement")),
  name: text(from("name")),
  seo_name: text(from("seoName")),
  artg_id: text(from("artgId"), Form.key),
  pbs: text(from("pbs"), Form.key),
  fred: text(from("fred")),
  z_code: text(from("zCode")),
  snomed_mp: text(from("snomedMp")),
  snomed_mpp: text(from("snomedMpp")),
  snomed_mpuu: text(from("snomedMpuu")),
  snomed_tp: text(from("snomedTp")),
  snomed_tpp: text(from("snomedTpp")),
  snomed_tpuu: text(from("snomedTpuu")),
  snomed_ctpp: text(from("snomedCtpp")),
  supplier_reference: text(from("supplierReference")),
  hs_code: text(from("hsCode")),
  ean: { ...from("ean"), type: "text[]", read: Form.keys, empty: [] } as Column<ReadonlyArray<string>>,
  ean_gtin8: text(from("eanGtin8"), Form.digits(8)),
  ean_gtin12: text(from("eanGtin12"), Form.digits(12)),
  ean_gtin13: text(from("eanGtin13"), Form.digits(13)),
  ean_gtin14: text(from("eanGtin14"), Form.digits(14)),
  organization: text(from("organizations"), Form.firstName),
  brand: text(from("brands"), Form.firstName),
  gs1_category: text(from("gs1Category"), Form.code),
  organization_ids: ids(from("organizations")),
  brand_ids: ids(from("brands")),
  public_category_ids: ids(from("publicCategories")),
  product_family_ids: ids(from("productFamilies")),
  public_price_cents: cents(from("publicPrice")),
  manufacturer_price_cents: cents(from("manufacturerPrice")),
  pharmacist_price_cents: cents(from("pharmacistPrice")),
  vat: { ...from("vat"), type: "numeric", read: Form.decimal, empty: null } as Column<string | null>,
  requires_legal_text: flag(from("requiresLegalText")),
  biocide: flag(from("biocide")),
  conservation: text(from("conservation")),
  official_deletion_at: time(from("officialDeletionAt")),
  medipim_created_at: time(fromMeta("createdAt")),
  medipim_updated_at: time(fromMeta("updatedAt"))
}
/** The name of a column that the source fills. */
export type SourceColumn = keyof typeof sourceColumns

/** A product as `public.products` holds it. */
export type ProductRow = {
  readonly [Name in SourceColumn]: (typeof sourceColumns)[Name] extends Column<infer A> ? A : never
} & {
  readonly id: string
  /** The whole result without `embedUrl`, as canonical JSON text. */
  readonly raw: string
  /** 64 hex digits, see `ContentHash.ts`. */
  readonly content_hash: string
}

/** All columns of a row with their types in Postgres, in one order. */
export const columnTypes: ReadonlyArray<readonly [name: keyof ProductRow, type: string]> = [
  ["id", "text"],
  ...Object.entries(sourceColumns).map(([name, { type }]) => [name as SourceColumn, type] as const),
  ["raw", "jsonb"],
  ["content_hash", "text"]
]
/** The names of these columns, in the same order. */
export const columnNames = columnTypes.map(([name]) => name)
