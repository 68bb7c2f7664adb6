import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { empty, products, services, sync } from "./Fixture.ts"
import { dropTrigger, trigger, withObjects } from "./OwnersFixture.ts"

layer(services, { excludeTestServices: true, timeout: "60 seconds" })(
  "Objects of the owner find what they find in the SQL editor",
  (it) => {
    it.effect("a trigger, an index on a function, a generated column, a deferred trigger", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* empty
        yield* withObjects(
          [
            "CREATE SCHEMA IF NOT EXISTS extensions",
            "CREATE FUNCTION extensions.from_extension() RETURNS text LANGUAGE sql AS 'SELECT ''there'''",
            "CREATE TABLE public.product_audit (id text, note text)",
            "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO product_audit VALUES (NEW.id, from_extension()); RETURN NULL; END $$",
            "CREATE TRIGGER shop_audit AFTER INSERT OR UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION theirs()",
            "CREATE TABLE public.change_audit (note text)",
            "CREATE FUNCTION public.of_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO change_audit VALUES (from_extension()); RETURN NULL; END $$",
            "CREATE TRIGGER shop_changes AFTER INSERT ON medipim.product_changes FOR EACH ROW EXECUTE FUNCTION of_changes()",
            "CREATE CONSTRAINT TRIGGER shop_later AFTER INSERT ON public.products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION theirs()",
            "CREATE FUNCTION public.my_unaccent(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT translate(t, ''éü'', ''eu'')'",
            "CREATE FUNCTION public.f_unaccent(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN my_unaccent(t); END $$",
            "CREATE INDEX shop_plain ON public.products (f_unaccent(name))",
            "ALTER TABLE public.products ADD COLUMN plain_name text GENERATED ALWAYS AS (f_unaccent(name)) STORED"
          ],
          [
            "ALTER TABLE public.products DROP COLUMN plain_name",
            "DROP FUNCTION public.f_unaccent(text) CASCADE",
            "DROP FUNCTION public.my_unaccent(text) CASCADE",
            ...dropTrigger,
            "DROP FUNCTION public.of_changes() CASCADE",
            "DROP TABLE public.product_audit, public.change_audit",
            "DROP SCHEMA extensions CASCADE"
          ],
          Effect.gen(function* () {
            const first = yield* sync(products(100).map((one) => ({ ...one, name: { en: "Café" } })))
            assert.deepInclude(first, { published: true, warnings: [] })
            yield* sync(products(99).map((one) => ({ ...one, name: { en: "Müsli" } })))
            assert.deepStrictEqual(
              yield* sql`SELECT plain_name AS name, count(*)::int AS n FROM public.products GROUP BY 1 ORDER BY 1`,
              [
                { name: "Cafe", n: 1 },
                { name: "Musli", n: 99 }
              ]
            )
            // 100 inserted by two triggers; 99 updated and one removed by one.
            assert.deepStrictEqual(yield* sql`SELECT note, count(*)::int AS n FROM public.product_audit GROUP BY 1`, [
              { note: "there", n: 300 }
            ])
            assert.deepStrictEqual(yield* sql`SELECT note, count(*)::int AS n FROM public.change_audit GROUP BY 1`, [
              { note: "there", n: 200 }
            ])
          })
        )
      })
    )

    it.effect("and the search path of the owner is the one of that role, or of the database", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* empty
        const audit = trigger("INSERT INTO audit_of_shop VALUES (NEW.id); RETURN NULL;", "", "AFTER")
        yield* withObjects(
          [
            "CREATE SCHEMA shop",
            "CREATE TABLE shop.audit_of_shop (id text)",
            ...audit,
            "ALTER DATABASE postgres SET search_path = shop, public"
          ],
          [...dropTrigger, "DROP SCHEMA shop CASCADE", "ALTER DATABASE postgres RESET search_path"],
          Effect.gen(function* () {
            yield* sync(products(50))
            assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM shop.audit_of_shop`, [{ n: 50 }])
          })
        )
      })
    )

    it.effect("while ours cannot be shadowed by theirs", () =>
      Effect.gen(function* () {
        yield* empty
        yield* withObjects(
          [
            // Each fits our call better than the one of Postgres, or has its very name.
            "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''1970-01-01''::timestamptz'",
            "CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''shadow'''",
            "CREATE FUNCTION public.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
            "CREATE FUNCTION public.text_never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
            "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.text_never)",
            "CREATE FUNCTION public.jsonb_always(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR public.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.jsonb_always)",
            "CREATE FUNCTION public.jsonb_each(jsonb) RETURNS TABLE (key text, value jsonb) LANGUAGE sql AS 'SELECT ''shadow'', ''1''::jsonb'",
            "CREATE TABLE public.sync_runs (id text)",
            "CREATE TABLE public.stage_products (id text)",
            "ALTER DATABASE postgres SET search_path = public, pg_catalog"
          ],
          [
            "ALTER DATABASE postgres RESET search_path",
            "DROP TABLE public.stage_products, public.sync_runs",
            "DROP OPERATOR public.= (text, text), public.= (jsonb, jsonb)",
            "DROP FUNCTION public.jsonb_always(jsonb, jsonb), public.jsonb_each(jsonb)",
            "DROP FUNCTION public.text_never(text, text), public.count(text), public.unnest(text[]), public.now()"
          ],
          Effect.gen(function* () {
            const sql = yield* SqlClient
            assert.deepInclude((yield* sync(products(100))).counts, { inserted: 100 })
            const changed = products(99).map((one, n) => (n === 7 ? { ...one, publicPrice: 5000 } : one))
            assert.deepInclude((yield* sync(changed)).counts, { unchanged: 98, updated: 1, removed: 1 })
            assert.deepStrictEqual(
              yield* sql`SELECT product_id AS id, changed_keys AS keys, before FROM medipim.product_changes WHERE change = 'updated'`,
              [{ id: "M000000007", keys: ["publicPrice"], before: { publicPrice: 107 } }]
            )
            const [young] = yield* sql`SELECT bool_and(changed_at > '2020-01-01') AS all FROM public.products`
            assert.deepStrictEqual(young, { all: true })
          })
        )
      })
    )
  }
)
