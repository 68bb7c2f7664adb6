import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { migrate } from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { piecesOf } from "../docs/DocumentPieces.ts"
import { rolesSql, SupabaseDatabase, viewSql } from "./SupabaseDatabase.ts"
import { sync, TestStack } from "./TestStack.ts"

const products = 300

/** A database that nobody has migrated yet, with the role of the documents; the services log in as that role. */
const fresh = Layer.effect(
  TestDatabase,
  Effect.gen(function* () {
    const { make, makeRole, url } = yield* SupabaseDatabase
    yield* make("fresh")
    yield* makeRole("fresh")
    return TestDatabase.of({ url: url("medipim_app", "fresh") })
  })
)

const asRole = Layer.unwrap(
  Effect.map(Effect.context<SupabaseDatabase>(), (supabase) =>
    TestStack.layer(products, undefined, fresh.pipe(Layer.provide(Layer.succeedContext(supabase))))
  )
).pipe(Layer.provideMerge(SupabaseDatabase.layer))

const on = (user: "superuser" | "project" | "medipim_app", name: string) =>
  Layer.unwrap(
    Effect.map(SupabaseDatabase, ({ url }) =>
      Layer.fresh(Postgres.layer({ databaseUrl: url(user, name), databaseConnections: 1 }, "test"))
    )
  )

const writes = [
  "INSERT INTO public.products SELECT * FROM public.products",
  "UPDATE public.products SET name = 'x'",
  "DELETE FROM public.products",
  "TRUNCATE public.products",
  "ALTER TABLE public.products DISABLE ROW LEVEL SECURITY",
  "CREATE POLICY mine ON public.products FOR ALL USING (true)"
]

/** What a role gets for a statement: a number of rows, or the SQLSTATE that the server refuses it with. */
const asks = Effect.fnUntraced(function* (role: string, statement: string) {
  const sql = yield* SqlClient
  return yield* sql
    .withTransaction(
      Effect.gen(function* () {
        yield* sql.unsafe(`SET LOCAL ROLE ${role}`)
        return (yield* sql.unsafe(statement)).length
      })
    )
    .pipe(Effect.catch((error) => Effect.succeed((error.reason.cause as { readonly code?: string }).code ?? "unknown")))
})

const denied = "42501"
const notATable = "42809"
const notUpdatable = "55000"

/** The statements that docs/security.md shows: a policy, and the question for views that visitors may write through. */
const [membersRead = "", writableViews = ""] = piecesOf("docs/security.md").flatMap(({ language, text }) =>
  language === "sql" ? [text] : []
)
const visitors = ["anon", "authenticated", "service_role"]
const throughView = ["UPDATE public.shop_products SET name = 'x'", "DELETE FROM public.shop_products"].map(
  (statement) => `${statement} RETURNING id`
)

/** How many rows a visitor gets hold of with this statement, which is taken back. */
const visits = Effect.fnUntraced(function* (statement: string) {
  const sql = yield* SqlClient
  return yield* sql
    .withTransaction(
      Effect.gen(function* () {
        yield* sql`SET LOCAL ROLE anon`
        const rows = yield* sql.unsafe(statement)
        return yield* Effect.fail(rows.length)
      })
    )
    .pipe(Effect.flip)
})

/** Nothing of this role gets further than what the documents promise, whoever made the tables. */
const seesWhatItMay = Effect.fnUntraced(function* (readable: Readonly<Record<string, number | string>>) {
  const sql = yield* SqlClient
  const inside = yield* sql<{ readonly name: string }>`SELECT tablename AS name FROM pg_tables
    WHERE schemaname = 'medipim' ORDER BY 1`
  assert.includeMembers(
    inside.map(({ name }) => name),
    ["migrations", "product_changes", "rejected_records", "stage_batches", "stage_products", "sync_runs"]
  )
  for (const [role, seen] of Object.entries(readable)) {
    assert.strictEqual(yield* asks(role, "SELECT id FROM public.products"), seen, `${role} reads the catalogue`)
    for (const statement of writes) assert.strictEqual(yield* asks(role, statement), denied, `${role}: ${statement}`)
    for (const { name } of inside) {
      for (const statement of ["SELECT 1 FROM", "DELETE FROM", "TRUNCATE"]) {
        assert.strictEqual(yield* asks(role, `${statement} medipim.${name}`), denied, `${role}: ${statement} ${name}`)
      }
    }
    assert.strictEqual(yield* asks(role, "CREATE TABLE medipim.mine ()"), denied)
    assert.strictEqual(yield* asks(role, "CREATE TABLE public.mine ()"), denied)
  }
})

layer(asRole, { excludeTestServices: true, timeout: "90 seconds" })("The role of docs/sql/roles.sql", (it) => {
  it.effect("is enough for migrations, the workflow engine and whole syncs", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      assert.deepInclude(yield* sync(), { status: "succeeded", published: true })
      yield* control("POST /control/changes", { update: 5, remove: 2 })
      const second = yield* sync({ forceRefresh: true })
      assert.deepInclude(second, { status: "succeeded", published: true })
      assert.deepInclude(second.progress, { updated: 5, removed: 2 })
      const sql = yield* SqlClient
      const owners = yield* sql<{ readonly owner: string; readonly tables: ReadonlyArray<string> }>`
        SELECT tableowner AS owner, array_agg(tablename::text ORDER BY tablename) AS tables FROM pg_tables
        WHERE schemaname IN ('public', 'medipim') GROUP BY 1`
      assert.deepStrictEqual(
        owners.map(({ owner }) => owner),
        ["medipim_app"]
      )
      assert.includeMembers([...(owners[0]?.tables ?? [])], ["products", "cluster_messages", "cluster_locks"])
    })
  )

  it.effect("has no other power, and reads nothing of what others keep in the database", () =>
    Effect.gen(function* () {
      const { run } = yield* SupabaseDatabase
      yield* run("project", "fresh", ["CREATE TABLE public.customers (id int)"])
      const [rights] =
        yield* (yield* SqlClient)`SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
        FROM pg_roles WHERE rolname = current_user`
      assert.deepStrictEqual(new Set(Object.values(rights ?? {})), new Set([false]))
      for (const statement of [
        "SELECT 1 FROM public.customers",
        "CREATE SCHEMA another",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "SET ROLE service_role",
        "SELECT 1 FROM pg_authid",
        "COPY (SELECT 1) TO '/tmp/medipim-roles-test'"
      ]) {
        const refused = yield* (yield* SqlClient).unsafe(statement).pipe(Effect.flip)
        assert.strictEqual((refused.reason.cause as { readonly code?: string }).code, denied, statement)
      }
    })
  )

  it.effect("keeps the catalogue from visitors and its own tables from everybody", () =>
    Effect.gen(function* () {
      yield* seesWhatItMay({ anon: denied, authenticated: 0, service_role: products })
      const sql = yield* SqlClient
      const [held] = yield* sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM public.products`
      assert.strictEqual(held?.n, products)
    }).pipe(Effect.provide(on("superuser", "fresh")))
  )

  it.effect(
    "would let visitors write through the view of docs/sql/shop_products.sql, but for its REVOKE and its WITH",
    () =>
      Effect.gen(function* () {
        const { run } = yield* SupabaseDatabase
        const sql = yield* SqlClient
        const unsafe = viewSql
          .filter((statement) => !/^\s*REVOKE/.test(statement))
          .map((statement) => statement.replace(/WITH present AS \(([^)]*)\)\s*SELECT \* FROM present/, "$1"))
        assert.lengthOf(unsafe, viewSql.length - 1)
        assert.notInclude(unsafe.join(), "present")
        yield* run("project", "fresh", unsafe)
        for (const statement of throughView) assert.strictEqual(yield* visits(statement), products - 2, statement)
        const open = yield* sql.unsafe<{ readonly grantee: string }>(writableViews)
        assert.sameMembers(
          open.map(({ grantee }) => grantee),
          visitors
        )
      }).pipe(Effect.provide(on("superuser", "fresh")))
  )

  it.effect("lets visitors read that view as it stands, and nobody write through it, whatever they are granted", () =>
    Effect.gen(function* () {
      const { run } = yield* SupabaseDatabase
      const sql = yield* SqlClient
      const isReadOnly = Effect.gen(function* () {
        for (const role of [...visitors, "project"]) {
          assert.strictEqual(yield* asks(role, "SELECT id, public_price_cents FROM public.shop_products"), products - 2)
          for (const statement of [...throughView, "INSERT INTO public.shop_products (id) VALUES ('x')"]) {
            assert.strictEqual(yield* asks(role, statement), notUpdatable, `${role}: ${statement}`)
          }
          assert.strictEqual(yield* asks(role, "TRUNCATE public.shop_products"), notATable)
        }
        assert.deepStrictEqual(yield* sql.unsafe(writableViews), [])
      })
      // Over the open one of the test before.
      yield* run("project", "fresh", viewSql)
      yield* isReadOnly
      yield* run("project", "fresh", [`GRANT ALL ON public.shop_products TO ${visitors.join()}`])
      yield* isReadOnly
      yield* run("project", "fresh", viewSql)
      const rights = yield* sql<{ readonly grantee: string; readonly privilege: string }>`
        SELECT grantee, privilege_type AS privilege FROM information_schema.table_privileges
        WHERE table_schema = 'public' AND table_name = 'shop_products' AND grantee <> 'project' ORDER BY 1`
      assert.deepEqual(
        rights,
        visitors.map((grantee) => ({ grantee, privilege: "SELECT" }))
      )
      const columns = yield* sql<{ readonly name: string }>`SELECT column_name AS name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'shop_products'`
      assert.notMatch(columns.map(({ name }) => name).join(), /raw|manufacturer|pharmacist|hash/)
      // The view opens nothing else.
      yield* seesWhatItMay({ anon: denied, authenticated: 0, service_role: products })
    }).pipe(Effect.provide(on("superuser", "fresh")))
  )

  it.effect("shows visitors nothing through that view with security_invoker, as docs/security.md warns", () =>
    Effect.gen(function* () {
      const { run } = yield* SupabaseDatabase
      yield* run("project", "fresh", ["ALTER VIEW public.shop_products SET (security_invoker = true)"])
      assert.strictEqual(yield* asks("anon", "SELECT id FROM public.shop_products"), denied)
      assert.strictEqual(yield* asks("authenticated", "SELECT id FROM public.shop_products"), 0)
      yield* run("project", "fresh", viewSql)
      assert.strictEqual(yield* asks("anon", "SELECT id FROM public.shop_products"), products - 2)
    }).pipe(Effect.provide(on("superuser", "fresh")))
  )

  it.effect("leaves it to a policy who else may read", () =>
    Effect.gen(function* () {
      const { run } = yield* SupabaseDatabase
      yield* run("medipim_app", "fresh", [membersRead])
      yield* seesWhatItMay({ anon: denied, authenticated: products - 2, service_role: products })
    }).pipe(Effect.provide(on("superuser", "fresh")))
  )

  it.effect("changes nothing when a forced policy hides rows from it, and the run names the policy", () =>
    Effect.gen(function* () {
      const { run } = yield* SupabaseDatabase
      const { control } = yield* TestStack
      const sql = yield* SqlClient
      const table = sql`SELECT id, xmin::text FROM public.products ORDER BY id`
      const before = yield* Effect.provide(table, on("superuser", "fresh"))
      yield* run("medipim_app", "fresh", [
        "ALTER TABLE public.products FORCE ROW LEVEL SECURITY",
        "CREATE POLICY half_of_it ON public.products USING (id < 'M8') WITH CHECK (id < 'M8')"
      ])
      yield* control("POST /control/changes", { touch: true })
      const { status, failure } = yield* sync({ forceRefresh: true })
      assert.strictEqual(status, "failed")
      assert.match(failure?.message ?? "", /row-level security.*forced row level security, policy half_of_it/)
      yield* run("medipim_app", "fresh", [
        "DROP POLICY half_of_it ON public.products",
        "ALTER TABLE public.products NO FORCE ROW LEVEL SECURITY"
      ])
      assert.deepStrictEqual(yield* table, before)
      assert.deepInclude(yield* sync({ forceRefresh: true }), { status: "succeeded", published: true })
    })
  )

  it.effect("takes over what another role had migrated, and its SQL may be run again", () =>
    Effect.gen(function* () {
      const { make, makeRole, run } = yield* SupabaseDatabase
      yield* make("taken")
      const migrated = yield* migrate.pipe(Effect.provide([NodeServices.layer, on("project", "taken")]))
      assert.isAbove(migrated.length, 0)
      yield* seesWhatItMay({ anon: denied, authenticated: 0, service_role: 0 }).pipe(
        Effect.provide(on("superuser", "taken"))
      )
      yield* makeRole("taken")
      yield* run("project", "taken", rolesSql)
      assert.deepStrictEqual(yield* migrate.pipe(Effect.provide([NodeServices.layer, on("medipim_app", "taken")])), [])
      yield* run("medipim_app", "taken", [
        "TRUNCATE medipim.stage_products, medipim.stage_batches",
        "INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at) VALUES ('r', 'M1', 'inserted', now())",
        "ALTER TABLE public.products ADD COLUMN later text",
        "CREATE INDEX products_later ON public.products (later)",
        "CREATE TABLE medipim.later ()"
      ])
      yield* seesWhatItMay({ anon: denied, authenticated: 0, service_role: 0 }).pipe(
        Effect.provide(on("superuser", "taken"))
      )
    })
  )
})
