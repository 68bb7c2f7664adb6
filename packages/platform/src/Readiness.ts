import { NotReady } from "@medipim/http-api/SystemGroup"
import { Effect, Option } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { sqlMessage } from "./Postgres.ts"

/** Something the service cannot work without. */
export interface Dependency {
  readonly name: string
  readonly check: Effect.Effect<unknown, { readonly message: string }>
}

/** The database answers. */
export const databaseCheck = (sql: SqlClient): Dependency => ({
  name: "database",
  check: sql`SELECT 1`.pipe(Effect.mapError((error) => ({ message: sqlMessage(error) })))
})

const patience = "5 seconds"

/** Checks all dependencies at once; names each that fails. */
export const readiness = (
  dependencies: ReadonlyArray<Dependency>
): Effect.Effect<{ readonly status: "ready" }, NotReady> =>
  Effect.forEach(
    dependencies,
    ({ name, check }) =>
      check.pipe(
        Effect.as(Option.none<{ dependency: string; reason: string }>()),
        Effect.timeout(patience),
        Effect.catch((error) => Effect.succeedSome({ dependency: name, reason: error.message }))
      ),
    { concurrency: dependencies.length }
  ).pipe(
    Effect.map((results) => results.flatMap(Option.toArray)),
    Effect.flatMap((failing) =>
      failing.length === 0 ? Effect.succeed({ status: "ready" } as const) : Effect.fail(new NotReady({ failing }))
    )
  )
