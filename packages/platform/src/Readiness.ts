import { NotReady } from "@medipim/http-api/SystemGroup"
import { Effect, Option } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { databaseFaults, type TableNeed } from "./DatabaseNeeds.ts"
import { sqlMessage } from "./Postgres.ts"

/** Something the service cannot work without. */
export interface Dependency {
  readonly name: string
  readonly check: Effect.Effect<unknown, { readonly message: string }>
}

/** The database answers, takes changes, and has what the service needs, with the rights to use it. */
export const databaseCheck = (sql: SqlClient, needs: ReadonlyArray<TableNeed>): Dependency => ({
  name: "database",
  check: databaseFaults(needs).pipe(
    Effect.provideService(SqlClient, sql),
    Effect.mapError((error) => ({ message: sqlMessage(error) })),
    Effect.flatMap((faults) => (faults.length === 0 ? Effect.void : Effect.fail({ message: faults.join("; ") })))
  )
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
