-- A view of the catalogue for people who may not see all of it: no wholesale and pharmacy prices, no raw record, no removed
-- products. Run it as the role `postgres` of a Supabase project, after the first sync has made the table. It may be run
-- again. Change the columns and the roles in the last line as you need: columns can be added behind the last one; to take
-- one away, put DROP VIEW IF EXISTS public.shop_products; below BEGIN. What this is for: docs/security.md.

-- One transaction: many projects give anon, authenticated and service_role every right on what is made in public, and until
-- the REVOKE those are there.
BEGIN;

-- With the rights of its owner (security_invoker is off), so that readers need no right on the table itself, and no policy.
-- Row level security does not hold this owner back: the columns and the WHERE are all that limits a reader. The barrier
-- keeps a reader's own functions from looking at rows that the WHERE hides.
-- Without the WITH around the query, Postgres would let the view be written through, past row level security, by everybody
-- who ever gets the right: a later GRANT ALL ON ALL TABLES is enough. Indexes work through it.
CREATE OR REPLACE VIEW public.shop_products WITH (security_barrier = true, security_invoker = false) AS
  WITH present AS (
    SELECT id, status, name, seo_name, artg_id, pbs, ean, ean_gtin13, organization, brand, public_category_ids,
      public_price_cents, vat, requires_legal_text, medipim_updated_at, changed_at
    FROM public.products
    WHERE removed_at IS NULL
  )
  SELECT * FROM present;

REVOKE ALL ON public.shop_products FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON public.shop_products TO anon, authenticated, service_role;

COMMIT;
