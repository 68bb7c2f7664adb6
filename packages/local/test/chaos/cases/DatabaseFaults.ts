import * as Postgres from "@medipim/platform/database/Postgres"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type Case, locked, trapped } from "../harness/Case.ts"
import { Environment } from "../harness/Environment.ts"
import { held } from "./Held.ts"

const terminate = (application: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ${application}`
  )

const staging = held("medipim.stage_products")
const publishing = locked("public.products")

export const databaseFault = (name: string, begin: Case["begin"], strike: NonNullable<Case["strike"]>): Case => ({
  name: `database: ${name}`,
  kind: "fault",
  begin,
  strike,
  outcome: "succeeded"
})

const crash: NonNullable<Case["strike"]> = (_, { open }) =>
  Effect.flatMap(Environment, ({ crashDatabase }) => Effect.andThen(crashDatabase, open))

/** Waits until the log of the database has this text once more than it had before `cause`. */
export const logsAfter = Effect.fnUntraced(function* <E, R>(text: string, cause: Effect.Effect<unknown, E, R>) {
  const { logged } = yield* Environment
  const before = yield* logged(text)
  yield* cause
  yield* Effect.repeat(logged(text), { until: (now) => now > before, schedule: Schedule.spaced("50 millis") }).pipe(
    Effect.timeoutOrElse({ duration: "40 seconds", orElse: () => Effect.fail(`the database never logged: ${text}`) })
  )
})

/** Shorter than any wait for the lock of a case. */
const shortTimeout = "700ms"

/** Connections made from now on give up a statement after a moment, until one has. */
const timeOut: NonNullable<Case["strike"]> = Effect.fnUntraced(function* () {
  const sql = yield* SqlClient
  const anew = terminate("medipim-maintainer")
  const limit = (value: string) => Effect.andThen(sql.unsafe(`ALTER ROLE CURRENT_USER ${value}`), anew)
  yield* logsAfter(
    "canceling statement due to statement timeout",
    limit(`SET statement_timeout = '${shortTimeout}'`)
  ).pipe(
    // A connection that was being made just then may have missed both.
    Effect.raceFirst(Effect.forever(Effect.delay(anew, "3 seconds"))),
    Effect.ensuring(Effect.orDie(limit("RESET statement_timeout")))
  )
})

/** More than the server takes in all. */
const crowdSize = 110
const crowdName = "chaos-crowd"

/** Others take every connection that the server has, and the services lose theirs. */
const crowded: NonNullable<Case["strike"]> = Effect.fnUntraced(function* () {
  const { databaseUrl } = yield* Environment
  const sitting = Effect.flatMap(SqlClient, (sql) => sql`SELECT pg_sleep(600)`)
  const crowd = Effect.forEach(
    Array.from({ length: crowdSize }),
    // One that was sent away sits down as soon as a place is free.
    () => Effect.retry(sitting, Schedule.spaced("20 millis")),
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.provide(Postgres.layer({ databaseUrl, databaseConnections: crowdSize }, crowdName)))
  yield* Effect.scoped(
    Effect.gen(function* () {
      yield* Effect.forkScoped(crowd)
      yield* logsAfter("sorry, too many clients already", terminate("medipim-%"))
      yield* Effect.sleep("1 second")
    })
  )
  yield* terminate(crowdName)
})

const killed: NonNullable<Case["strike"]> = () => terminate("medipim-%")

export const databaseFaults: ReadonlyArray<Case> = [
  { ...databaseFault("connections killed while staging", staging, killed), thorough: true },
  databaseFault("connections killed while publishing", publishing, killed),
  databaseFault("statement timeout while staging", staging, timeOut),
  { ...databaseFault("no connection free while staging", staging, crowded), thorough: true },
  { ...databaseFault("no connection free while publishing", publishing, crowded), thorough: true },
  databaseFault("crash while staging", staging, crash),
  {
    name: "database: crash after staging",
    kind: "fault",
    begin: trapped("maintainer", { where: /^POST \/publish$/, at: "request" }),
    strike: () => Effect.flatMap(Environment, ({ crashDatabase }) => crashDatabase),
    outcome: "succeeded"
  },
  databaseFault("crash while publishing", publishing, crash)
]
