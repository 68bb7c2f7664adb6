import { NotReady } from "@medipim/http-api/SystemGroup"
import { Effect, Fiber, Option, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import { SqlClient } from "effect/sql/SqlClient"
import { databaseFaults, type TableNeed } from "../database/DatabaseNeeds.ts"
import { sqlMessage } from "../database/Postgres.ts"
import { elapsedMillis } from "../process/Stopwatch.ts"
import { AdminKeys } from "./AdminKeys.ts"

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

const timeout = "5 seconds"

/** Checks all dependencies at once; names each that fails. */
export const readiness = (
  dependencies: ReadonlyArray<Dependency>
): Effect.Effect<{ readonly status: "ready" }, NotReady> =>
  Effect.forEach(
    dependencies,
    ({ name, check }) =>
      check.pipe(
        Effect.as(Option.none<{ dependency: string; reason: string }>()),
        Effect.timeout(timeout),
        Effect.catch((error) => Effect.succeedSome({ dependency: name, reason: error.message }))
      ),
    { concurrency: dependencies.length }
  ).pipe(
    Effect.map((results) => results.flatMap(Option.toArray)),
    Effect.flatMap((failing) =>
      failing.length === 0 ? Effect.succeed({ status: "ready" } as const) : Effect.fail(new NotReady({ failing }))
    )
  )

/** Words for a cause that hold no name of a host, a table or a path: the only ones that a stranger is shown. */
const causes =
  /\b(?:ReadOnly|Denied|Missing|DiskFull|NoConnectionFree|AuthenticationError|E(?:NOTFOUND|AI_AGAIN|CONN[A-Z]+|TIMEDOUT|HOSTUNREACH|NETUNREACH|ACCES|ROFS|NOSPC|PIPE))\b|\((?:denied|public|full|invalid|unavailable|bucket-missing)\)|timed out|no answer in time|(?<=\s)[45]\d\d(?= [A-Z])/g

/** The reason as a caller without a key may know it. */
export const publicReason = (reason: string): string => {
  const found = [...new Set(reason.match(causes) ?? [])].map((word) => word.replaceAll(/[()]/g, ""))
  return `${found.length === 0 ? "it does not work" : found.join(", ")}; with X-ADMIN-KEY this answer says more`
}

/** All callers within one second share one answer, and only one check runs at a time. */
const freshMillis = 1000

/**
 * `GET /readyz` of a service. With the admin key the reasons are given in full; other callers see the kind of cause.
 * Strangers may ask as often as they like: the dependencies are asked at most once a second.
 */
export const makeReadyz = (dependencies: ReadonlyArray<Dependency>) =>
  Effect.map(AdminKeys, (keys) => {
    let asked = Number.NEGATIVE_INFINITY
    let check: Fiber.Fiber<{ readonly status: "ready" }, NotReady> | undefined
    const shared = Effect.gen(function* () {
      const now = yield* elapsedMillis
      const isOld = check?.pollUnsafe() !== undefined && now - asked >= freshMillis
      if (check === undefined || isOld) {
        asked = now
        // The first caller may disconnect; the others keep waiting.
        check = yield* Effect.forkDetach(readiness(dependencies))
      }
      return yield* Fiber.join(check)
    })
    return shared.pipe(
      Effect.catchTag("NotReady", (error) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
          if (keys.includes(Redacted.make(headers["x-admin-key"] ?? ""))) return Effect.fail(error)
          const failing = error.failing.map(({ dependency, reason }) => ({ dependency, reason: publicReason(reason) }))
          return Effect.fail(new NotReady({ failing }))
        })
      )
    )
  })
