import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** The catalogue and what is kept about it. Steps are frozen once released: later changes are new steps. */
export const catalogue = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE public.products (
    id text PRIMARY KEY,
    status text,
    replacement text,
    name text,
    seo_name text,
    artg_id text,
    pbs text,
    fred text,
    z_code text,
    snomed_mp text,
    snomed_mpp text,
    snomed_mpuu text,
    snomed_tp text,
    snomed_tpp text,
    snomed_tpuu text,
    snomed_ctpp text,
    supplier_reference text,
    hs_code text,
    ean text[] NOT NULL,
    ean_gtin8 text,
    ean_gtin12 text,
    ean_gtin13 text,
    ean_gtin14 text,
    organization text,
    brand text,
    gs1_category text,
    organization_ids int[] NOT NULL,
    brand_ids int[] NOT NULL,
    public_category_ids int[] NOT NULL,
    product_family_ids int[] NOT NULL,
    public_price_cents int,
    manufacturer_price_cents int,
    pharmacist_price_cents int,
    vat numeric,
    requires_legal_text boolean,
    biocide boolean,
    conservation text,
    official_deletion_at timestamptz,
    medipim_created_at timestamptz,
    medipim_updated_at timestamptz,
    raw jsonb NOT NULL,
    content_hash text NOT NULL,
    line_hash text,
    first_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    removed_at timestamptz,
    last_run_id text NOT NULL
  )`
  yield* sql`CREATE UNLOGGED TABLE medipim.stage_products (
    run_id text NOT NULL,
    record int NOT NULL,
    change text NOT NULL CHECK (change IN ('inserted', 'updated', 'restored')),
    LIKE public.products INCLUDING COMPRESSION,
    PRIMARY KEY (run_id, id)
  )`
  yield* sql`ALTER TABLE medipim.stage_products
    DROP COLUMN first_seen_at, DROP COLUMN changed_at, DROP COLUMN removed_at, DROP COLUMN last_run_id`
  yield* sql`CREATE UNLOGGED TABLE medipim.stage_batches (
    run_id text NOT NULL,
    first_record int NOT NULL,
    ids text[] NOT NULL,
    PRIMARY KEY (run_id, first_record)
  )`
  yield* sql`CREATE TABLE medipim.product_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    product_id text NOT NULL,
    change text NOT NULL CHECK (change IN ('inserted', 'updated', 'restored', 'removed')),
    changed_keys text[],
    before jsonb,
    changed_at timestamptz NOT NULL,
    UNIQUE (run_id, product_id)
  )`
  yield* sql`CREATE TABLE medipim.rejected_records (
    run_id text NOT NULL,
    record int NOT NULL,
    snapshot_id text NOT NULL,
    part text NOT NULL,
    line_index int NOT NULL,
    product_id text,
    reason text NOT NULL,
    raw bytea NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, record)
  )`
  for (const statement of [...compression, ...indexes, ...comments, access]) yield* sql.unsafe(statement)
})

/** lz4 compresses faster than the default (docs/benchmarks.md); a server that was built without it keeps its default. */
const compression = ["public.products", "medipim.stage_products"].map(
  (table) => `DO $$ BEGIN
    ALTER TABLE ${table} ALTER COLUMN raw SET COMPRESSION lz4;
  EXCEPTION WHEN feature_not_supported THEN NULL;
  END $$`
)

const indexes = [
  "CREATE INDEX products_ean ON public.products USING gin (ean)",
  "CREATE INDEX products_gtin14 ON public.products (ean_gtin14) WHERE ean_gtin14 IS NOT NULL",
  "CREATE INDEX products_artg_id ON public.products (artg_id) WHERE artg_id IS NOT NULL",
  "CREATE INDEX products_pbs ON public.products (pbs) WHERE pbs IS NOT NULL",
  "CREATE INDEX products_updated ON public.products (medipim_updated_at)",
  "CREATE INDEX product_changes_product ON medipim.product_changes (product_id, id)"
]

const on = (column: string, text: string): string =>
  `COMMENT ON COLUMN public.products.${column} IS '${text.replaceAll("'", "''")}'`

const comments = [
  "COMMENT ON TABLE public.products IS 'The MediPim AU catalogue, one row a product, kept in step by MediPim AU Sync. Rows are never deleted: removed_at says when a product was last missed'",
  on("id", "MediPim product id (result.id)"),
  on("status", "active, inactive, replaced or no_selection (result.status)"),
  on("replacement", "id of the product that replaces this one (result.replacement)"),
  on("name", "English name, or the first language there is (result.name)"),
  on("seo_name", "name for addresses of web pages (result.seoName)"),
  on("artg_id", "ARTG number; shared by pack sizes, not unique (result.artgId)"),
  on("pbs", "PBS item code (result.pbs)"),
  on("fred", "code in Fred (result.fred)"),
  on("z_code", "code in Z Register (result.zCode)"),
  ...["mp", "mpp", "mpuu", "tp", "tpp", "tpuu", "ctpp"].map((kind) =>
    on(
      `snomed_${kind}`,
      `AMT ${kind.toUpperCase()} concept id, 15 to 18 digits (result.snomed${kind[0]?.toUpperCase()}${kind.slice(1)})`
    )
  ),
  on("supplier_reference", "the supplier's own code (result.supplierReference)"),
  on("hs_code", "customs code, leading zeros kept (result.hsCode)"),
  on("ean", "barcodes as sent, leading zeros kept; not unique (result.ean)"),
  ...[8, 12, 13, 14].map((n) => on(`ean_gtin${n}`, `barcode of ${n} digits (result.eanGtin${n})`)),
  on("organization", "name of the first organization (result.organizations)"),
  on("brand", "name of the first brand (result.brands)"),
  on("gs1_category", "GS1 brick code (result.gs1Category.code)"),
  on("organization_ids", "ids of all organizations (result.organizations)"),
  on("brand_ids", "ids of all brands (result.brands)"),
  on("public_category_ids", "ids of all public categories (result.publicCategories)"),
  on("product_family_ids", "ids of all product families (result.productFamilies)"),
  on("public_price_cents", "AUD cents including tax (result.publicPrice)"),
  on("manufacturer_price_cents", "AUD cents excluding tax (result.manufacturerPrice)"),
  on("pharmacist_price_cents", "AUD cents excluding tax (result.pharmacistPrice)"),
  on("vat", "rate of GST as sent, in percent (result.vat)"),
  on("requires_legal_text", "a legal text must be shown with the product (result.requiresLegalText)"),
  on("biocide", "result.biocide"),
  on("conservation", "room, refrigerator, fresh or frozen (result.conservation)"),
  on("official_deletion_at", "end of commercial life (result.officialDeletionAt)"),
  on("medipim_created_at", "when MediPim got the product (result.meta.createdAt)"),
  on("medipim_updated_at", "last change at MediPim (result.meta.updatedAt)"),
  on("raw", "the whole product as sent, without embedUrl, unknown keys included"),
  on("content_hash", "SHA-256 of raw with sorted keys; equal hash means equal content"),
  on("line_hash", "fingerprint of the bytes as they came: an unchanged line is known without parsing it"),
  on("first_seen_at", "when a sync first stored the product"),
  on("changed_at", "when a sync last changed this row"),
  on("removed_at", "when a complete catalogue first lacked the product; null while it is there"),
  on("last_run_id", "the run that last changed this row")
]

/**
 * Row level security without a policy: through the REST API only the service role reads. Wholesale prices are in here;
 * who may see what is the project's own decision, and one policy away.
 */
const access = `DO $$ BEGIN
  ALTER TABLE public.products ENABLE ROW LEVEL SECURITY;
  REVOKE ALL ON SCHEMA medipim FROM PUBLIC;
  REVOKE ALL ON public.products FROM PUBLIC;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN REVOKE ALL ON public.products FROM anon; END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated') THEN
    REVOKE ALL ON public.products FROM authenticated;
    GRANT SELECT ON public.products TO authenticated;
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
    REVOKE ALL ON public.products FROM service_role;
    GRANT SELECT ON public.products TO service_role;
  END IF;
END $$`
