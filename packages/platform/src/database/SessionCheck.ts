import { PgClient } from "@effect/sql-pg"
import { Data, Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { isSqlError } from "effect/sql/SqlError"
import { rowsAs, schemaName, sqlFields } from "./Postgres.ts"

const SearchPath = Schema.Struct({ path: Schema.String })
const Relation = Schema.Struct({ kind: Schema.String })

/** The connection to the database is none that this system can work on. */
export class UnfitDatabase extends Data.TaggedError("UnfitDatabase")<{ readonly message: string }> {}

/** A pooler may drop the search path; then our tables would appear where Supabase shows them to the world. */
const assertSearchPath = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [row] = yield* sql`SELECT current_setting('search_path') AS path`.pipe(rowsAs(SearchPath))
  if (row?.path === schemaName) return
  return yield* new UnfitDatabase({
    message:
      `The database connection ignores search_path (it is "${row?.path}"). Use the direct connection or the session ` +
      `pooler, or run: ALTER ROLE CURRENT_USER SET search_path = ${schemaName};`
  })
})

const inTransactionMode = new UnfitDatabase({
  message:
    "DATABASE_URL goes through a pooler in transaction mode: two statements of one connection met two servers, so prepared " +
    "statements and locks of a session get lost. Use the direct connection or the session pooler (port 5432, not 6543)."
})

/** Connections that keep a server each while the first one asks again, if the pool has so many. */
const others = 2
/** SQLSTATE: the prepared statement does not exist, or exists already. */
const lostStatements = new Set(["26000", "42P05"])

/** Which server process a connection talks to. */
const serverOf = (connection: Connection) =>
  Effect.map(connection.executeValuesUnprepared("SELECT pg_backend_pid()", []), (rows) => rows[0]?.[0])

/**
 * A pooler in transaction mode gives a connection another server for each statement. It shows when others hold the one that
 * the connection had before.
 */
const assertOneServer = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const { maxConnections = 1 } = sql.config as PgClient.PgPoolConfig
  const first = yield* sql.reserve
  const before = yield* serverOf(first)
  for (let n = 0; n < Math.min(others, maxConnections - 1); n++) {
    const other = yield* sql.reserve
    yield* other.executeUnprepared("BEGIN", [], undefined)
    yield* Effect.addFinalizer(() => Effect.ignore(other.executeUnprepared("ROLLBACK", [], undefined)))
    yield* serverOf(other)
  }
  if ((yield* serverOf(first)) !== before) return yield* inTransactionMode
}).pipe(
  Effect.scoped,
  Effect.catchIf(
    (error) => isSqlError(error) && lostStatements.has(sqlFields(error).code ?? ""),
    () => Effect.fail(inTransactionMode)
  )
)

/** Refuses to touch an object that has our name and that we did not create. */
export const assertOwnProducts = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [found] = yield* sql`SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm'
      THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind
    FROM pg_class WHERE oid = to_regclass('public.products') AND to_regclass('medipim.migrations') IS NULL`.pipe(
    rowsAs(Relation)
  )
  if (found === undefined) return
  return yield* new UnfitDatabase({
    message:
      `public.products is there already and belongs to another program. Give it another name (ALTER ${found.kind} ` +
      "public.products RENAME TO shop_products;), or use another Supabase project for the catalogue (docs/troubleshooting.md)."
  })
})

/** Refuses a connection on which migrations pass and syncs fail. */
export const assertSession = Effect.andThen(assertOneServer, assertSearchPath).pipe(
  Effect.withSpan("SessionCheck.assertSession")
)
