import * as NodeServices from "@effect/platform-node/NodeServices"
import { PgMigrator } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { catalogue } from "./migrations/0001_catalogue.ts"
import { runs } from "./migrations/0002_runs.ts"
import { recovery } from "./migrations/0003_recovery.ts"
import { schedule } from "./migrations/0004_schedule.ts"
import { publishOrder } from "./migrations/0005_publish_order.ts"
import { sourceForms } from "./migrations/0006_source_forms.ts"
import { waits } from "./migrations/0007_waits.ts"
import { schemaName } from "./Postgres.ts"

const loader = PgMigrator.fromRecord({
  "0001_catalogue": catalogue,
  "0002_runs": runs,
  "0003_recovery": recovery,
  "0004_schedule": schedule,
  "0005_publish_order": publishOrder,
  "0006_source_forms": sourceForms,
  "0007_waits": waits
})
const table = "migrations"
/** Any number, the same in every process: who holds it migrates. */
const migrationLock = 0x4d504155

/** A pooler may drop the search path; then our tables would appear where Supabase shows them to the world. */
const assertSearchPath = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly path: string }>`SELECT current_setting('search_path') AS path`
  if (row?.path !== schemaName) {
    return yield* Effect.die(
      new Error(
        `The database connection ignores search_path (it is "${row?.path}"). Use the direct connection or the session ` +
          `pooler, or run: ALTER ROLE CURRENT_USER SET search_path = ${schemaName};`
      )
    )
  }
})

/**
 * Brings the database to the newest schema. Any number of processes may call it at once: one works, the others wait and
 * then find nothing to do. All pending steps happen in one transaction, or none.
 */
export const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* assertSearchPath
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`SELECT pg_advisory_xact_lock(${migrationLock}::bigint)`
      // Asked first: a role that may not make schemas is refused even where IF NOT EXISTS would find one.
      const [schema] = yield* sql`SELECT nspname FROM pg_namespace WHERE nspname = ${schemaName}`
      if (schema === undefined) yield* sql`CREATE SCHEMA ${sql(schemaName)}`
      return yield* PgMigrator.run({ loader, table })
    })
  )
}).pipe(Effect.withSpan("Migrations.migrate"))

/** Migrates before what is built on it starts; cheap when nothing is pending. */
export const layer = Layer.effectDiscard(migrate).pipe(Layer.provide(NodeServices.layer))
