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
import { comments } from "./migrations/0008_comments.ts"
import { retryDatabaseOutage, schemaName } from "./Postgres.ts"
import { assertOwnProducts, assertSession } from "./SessionCheck.ts"

const loader = PgMigrator.fromRecord({
  "0001_catalogue": catalogue,
  "0002_runs": runs,
  "0003_recovery": recovery,
  "0004_schedule": schedule,
  "0005_publish_order": publishOrder,
  "0006_source_forms": sourceForms,
  "0007_waits": waits,
  "0008_comments": comments
})
const table = "migrations"
/** Key of the advisory lock for migrations: any number, the same in every process. */
const migrationLock = 0x4d504155

/**
 * Brings the database to the newest schema. Any number of processes may call it at once: one works, the others wait and
 * then find nothing to do. All pending steps happen in one transaction, or none.
 */
export const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* assertSession
  // Somebody may be reading a table that a step changes: the lock is asked for again, as in any outage.
  const steps = sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`SELECT pg_advisory_xact_lock(${migrationLock}::bigint)`
      yield* assertOwnProducts
      // Asked first: a role that may not make schemas is refused even where IF NOT EXISTS would find one.
      const [schema] = yield* sql`SELECT nspname FROM pg_namespace WHERE nspname = ${schemaName}`
      if (schema === undefined) yield* sql`CREATE SCHEMA ${sql(schemaName)}`
      return yield* PgMigrator.run({ loader, table })
    })
  )
  return yield* retryDatabaseOutage(steps)
}).pipe(Effect.withSpan("Migrations.migrate"))

/** Migrates before what is built on it starts; cheap when nothing is pending. */
export const layer = Layer.effectDiscard(migrate).pipe(Layer.provide(NodeServices.layer))
