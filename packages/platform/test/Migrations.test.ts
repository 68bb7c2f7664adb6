import { readdirSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Cause, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../src/database/Migrations.ts"
import * as Postgres from "../src/database/Postgres.ts"

/** A connection of its own, as another process would have. */
const migrateApart = Effect.flatMap(TestDatabase, ({ url }) =>
  migrate.pipe(
    Effect.provide(
      Layer.merge(
        NodeServices.layer,
        Layer.fresh(Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "apart"))
      )
    )
  )
)

const database = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "test"))
).pipe(Layer.provideMerge(TestDatabase.layer))

layer(database, { excludeTestServices: true })("Migrations", (it) => {
  it.effect("refuse a connection that forgets the search path, before they touch anything", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const cause = yield* migrate.pipe(
        Effect.sandbox,
        Effect.flip,
        Effect.provide(Layer.merge(NodeServices.layer, Layer.fresh(PgClient.layer({ url }))))
      )
      assert.match(Cause.pretty(cause), /ignores search_path/)
      const sql = yield* SqlClient
      assert.deepStrictEqual(yield* sql`SELECT FROM pg_namespace WHERE nspname = 'medipim'`, [])
    })
  )

  it.effect("happen once, however many processes begin at the same time", () =>
    Effect.gen(function* () {
      const all = readdirSync(`${import.meta.dirname}/../src/database/migrations`).length
      const applied = yield* Effect.all([migrateApart, migrateApart, migrateApart], { concurrency: 3 })
      assert.deepStrictEqual(applied.map((steps) => steps.length).sort(), [0, 0, all])
      assert.deepStrictEqual(yield* migrateApart, [])
    })
  )

  it.effect("explain every column of the catalogue", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const silent = yield* sql`SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = 'public.products'::regclass AND a.attnum > 0 AND NOT a.attisdropped
          AND col_description(a.attrelid, a.attnum) IS NULL`
      assert.deepStrictEqual(silent, [])
    })
  )

  it.effect("keep everything but the catalogue out of the public schema", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const tables = yield* sql<{ readonly name: string }>`SELECT schemaname || '.' || tablename AS name FROM pg_tables
        WHERE schemaname IN ('public', 'medipim') ORDER BY 1`
      assert.deepStrictEqual(
        tables.map(({ name }) => name).filter((name) => name.startsWith("public.")),
        ["public.products"]
      )
      const unlogged = yield* sql<{ readonly name: string }>`SELECT relname AS name FROM pg_class
        WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1`
      assert.deepStrictEqual(
        unlogged.map(({ name }) => name),
        ["stage_batches", "stage_products"]
      )
    })
  )

  it.effect("show the catalogue to nobody until a policy says so", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`INSERT INTO public.products (id, ean, organization_ids, brand_ids, public_category_ids,
          product_family_ids, raw, content_hash, first_seen_at, changed_at, last_run_id)
        VALUES ('M1', '{}', '{}', '{}', '{}', '{}', '{}', 'h', now(), now(), 'r')`
      yield* sql`CREATE ROLE visitor`
      yield* sql`GRANT SELECT ON public.products TO visitor`
      const seen = yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`SET LOCAL ROLE visitor`
          return yield* sql`SELECT id FROM public.products`
        })
      )
      assert.deepStrictEqual(seen, [])
      const inside = yield* sql
        .withTransaction(Effect.andThen(sql`SET LOCAL ROLE visitor`, sql`SELECT FROM medipim.sync_runs`))
        .pipe(Effect.flip)
      assert.strictEqual(inside._tag, "SqlError")
    })
  )
})
