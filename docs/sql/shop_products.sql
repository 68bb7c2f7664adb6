-- A view of the catalogue for people who may not see all of it: no wholesale and pharmacy prices, no raw record, no removed
-- products. Run it as the role `postgres` of a Supabase project, after the first sync has created the table. You may run it
-- again. Change the columns and the roles of the last GRANT as you need. Columns can be added after the last one; to take one
-- away, put DROP VIEW IF EXISTS public.shop_products; after BEGIN. Why it is as it is: docs/security.md.

-- One transaction: in many projects anon, authenticated and service_role get all rights on what is created in public, and
-- keep them until the REVOKE.
BEGIN;

-- security_invoker is off: the view reads with the rights of its owner, so readers need neither a right on the table nor a
-- policy. Row level security does not apply to this owner: the columns and the WHERE are the only limit. The barrier keeps
-- a reader's own functions from seeing rows that the WHERE hides.
-- The WITH makes the view read-only. Without it, Postgres would let everybody who has the right write through the view, past
-- row level security, and a later GRANT ALL ON ALL TABLES gives that right. A search by id still uses the index.
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
