import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { maintainerNeeds, orchestratorNeeds } from "../src/database/DatabaseNeeds.ts"
import { migrate } from "../src/database/Migrations.ts"
import * as Postgres from "../src/database/Postgres.ts"
import { databaseCheck, readiness } from "../src/http/Readiness.ts"
import { transactionPooler } from "./TransactionPooler.ts"

const pool = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, "test"))
)
const database = pool.pipe(Layer.provideMerge([TestDatabase.layer, NodeServices.layer]))

/** What `/readyz` says of the database, on connections made now. */
const reasons = Effect.gen(function* () {
  const sql = yield* SqlClient
  return yield* readiness([databaseCheck(sql, [...maintainerNeeds, ...orchestratorNeeds])]).pipe(
    Effect.map(() => [] as ReadonlyArray<string>),
    Effect.catch(({ failing }) => Effect.succeed(failing.map(({ reason }) => reason)))
  )
}).pipe(Effect.provide(Layer.fresh(pool)))

/** Changes something, looks, and puts it back. */
const during = <A, E, R>(change: string, back: string, look: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.acquireUseRelease(
      sql.unsafe(change),
      () => look,
      () => Effect.orDie(sql.unsafe(back))
    )
  )

layer(database, { excludeTestServices: true, timeout: "60 seconds" })(
  "A database on which no sync could work",
  (it) => {
    for (const kind of ["TABLE", "VIEW"] as const) {
      it.effect(`is refused when public.products is a ${kind.toLowerCase()} of another program, with the cure`, () =>
        Effect.gen(function* () {
          const make =
            kind === "TABLE"
              ? "CREATE TABLE public.products (sku text)"
              : "CREATE VIEW public.products AS SELECT 1 AS sku"
          const error = yield* during(make, `DROP ${kind} public.products`, Effect.flip(migrate))
          assert.strictEqual(error._tag, "UnfitDatabase")
          assert.include(error.message, `ALTER ${kind} public.products RENAME TO shop_products;`)
          const sql = yield* SqlClient
          assert.deepStrictEqual(yield* sql`SELECT FROM pg_namespace WHERE nspname = 'medipim'`, [])
        })
      )
    }

    it.effect("is refused behind a pooler in transaction mode, before anything is touched", () =>
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        const pooled = yield* transactionPooler(url)
        const behind = Postgres.layer({ databaseUrl: pooled, databaseConnections: 4 }, "pooled")
        for (let turn = 0; turn < 5; turn++) {
          const error = yield* Effect.flip(migrate).pipe(Effect.provide(Layer.fresh(behind)))
          assert.strictEqual(error._tag, "UnfitDatabase")
          assert.match(error.message, /DATABASE_URL goes through a pooler in transaction mode.*port 5432, not 6543/)
        }
        const sql = yield* SqlClient
        assert.deepStrictEqual(yield* sql`SELECT FROM pg_namespace WHERE nspname = 'medipim'`, [])
      }).pipe(Effect.scoped)
    )

    it.effect("is not the one that a migration has made", () =>
      Effect.gen(function* () {
        yield* migrate
        assert.deepStrictEqual(yield* reasons, [])
      })
    )

    it.effect("is named as read-only", () =>
      Effect.gen(function* () {
        const found = yield* during(
          "ALTER DATABASE postgres SET default_transaction_read_only = on",
          // The connection of this test is older than the change.
          "ALTER DATABASE postgres RESET default_transaction_read_only",
          reasons
        )
        assert.deepStrictEqual(found, ["ReadOnly: it takes no changes (default_transaction_read_only is on)"])
      })
    )

    it.effect("is named with what is missing: a renamed table or column", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          yield* during(
            "ALTER TABLE public.products RENAME COLUMN line_hash TO lh",
            "ALTER TABLE public.products RENAME COLUMN lh TO line_hash",
            reasons
          ),
          ["Missing: public.products.line_hash (was it renamed? npm run migrate)"]
        )
        assert.deepStrictEqual(
          yield* during(
            "ALTER TABLE medipim.sync_chunks RENAME TO chunks",
            "ALTER TABLE medipim.chunks RENAME TO sync_chunks",
            reasons
          ),
          ["Missing: medipim.sync_chunks (was it renamed? npm run migrate)"]
        )
      })
    )

    it.effect("is looked through whole: each table, view and column that the migrations have made for a sync", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const made = yield* sql<{ readonly name: string }>`
          SELECT relname || '.' || attname AS name
          FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
          WHERE relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
            AND (relnamespace = 'medipim'::regnamespace OR attrelid = 'public.products'::regclass)
            AND relname NOT LIKE 'cluster\\_%' AND relname <> 'migrations'`
        const needed = [...maintainerNeeds, ...orchestratorNeeds].flatMap(({ table, columns }) =>
          columns.map((column) => `${table.split(".")[1]}.${column}`)
        )
        assert.deepStrictEqual(made.map(({ name }) => name).sort(), [...new Set(needed)].sort())
      })
    )

    it.effect("is named with the rights that the role lacks", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql`CREATE ROLE weak LOGIN PASSWORD 'weak'`
        yield* sql`GRANT USAGE ON SCHEMA medipim TO weak`
        yield* sql`GRANT SELECT ON ALL TABLES IN SCHEMA medipim TO weak`
        yield* sql`GRANT SELECT, INSERT ON public.products TO weak`
        const found = yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`SET LOCAL ROLE weak`
            return yield* Effect.flip(readiness([databaseCheck(sql, maintainerNeeds)]))
          })
        )
        const [{ reason } = { reason: "" }] = found.failing
        assert.match(reason, /^Denied: the role lacks UPDATE on public\.products, INSERT on medipim\.stage_products/)
        assert.notMatch(reason, /INSERT on public\.products|SELECT/)
      })
    )

    it.effect("is named when it does not answer at all", () =>
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        const nobody = Layer.fresh(
          Postgres.layer({ databaseUrl: yield* unreachable(url), databaseConnections: 4 }, "test")
        )
        const found = yield* Effect.flatMap(SqlClient, (sql) =>
          Effect.flip(readiness([databaseCheck(sql, maintainerNeeds)]))
        ).pipe(Effect.provide(nobody))
        assert.match(found.failing[0]?.reason ?? "", /ECONNREFUSED/)
      })
    )
  }
)

const unreachable = (url: Parameters<typeof transactionPooler>[0]) =>
  // The pooler is gone as soon as its scope closes.
  Effect.scoped(transactionPooler(url))
