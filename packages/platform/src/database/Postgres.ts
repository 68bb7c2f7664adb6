import { PgClient } from "@effect/sql-pg"
import { printable } from "@medipim/domain/Printable"
import { Effect, Option, Redacted, Schedule, Schema } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
import { retryOutageOf } from "../process/Outage.ts"
import { databaseTls } from "./DatabaseTls.ts"

/** Everything of ours but `public.products` lives in this schema, the tables of the workflow engine too. */
export const schemaName = "medipim"

interface Connection {
  readonly databaseUrl: Redacted.Redacted
  readonly databaseConnections: number
  readonly databaseCa?: Option.Option<string>
}

/** Lock timeout of a statement. The holder is reported, and the statement is retried for as long as an outage may last. */
export const longestLockWait = "30s"

/** A pool of connections whose unqualified names mean the schema `medipim`. */
export const layer = (connection: Connection, applicationName: string) =>
  PgClient.layer({
    url: connection.databaseUrl,
    ssl: databaseTls(Redacted.value(connection.databaseUrl), connection.databaseCa ?? Option.none()),
    maxConnections: connection.databaseConnections,
    connectTimeout: "10 seconds",
    // The kernel starts to probe a silent connection after this time.
    keepAlive: "15 seconds",
    applicationName,
    startupParameters: { search_path: schemaName, lock_timeout: longestLockWait }
  })

/** SQLSTATE classes of faults that pass: no connection free (53), a server that stops, restarts or begins (57P). */
const passingState = /^(53|57P)/

/** True when the same work can succeed later. A connection that was killed in the middle counts too. */
export const isPassing = (error: SqlError): boolean =>
  error.isRetryable || passingState.test(String((error.reason.cause as { readonly code?: unknown } | undefined)?.code))

/**
 * For a transaction whose locks block others: Postgres aborts it after 60 s without a statement, so that a hung client does
 * not keep its row locks. Between its statements a service only counts and decides.
 */
export const abortIdleTransaction = "SET LOCAL idle_in_transaction_session_timeout = '60s'"

/**
 * For a transaction that writes the whole of a first load in one statement: lifts the limit on the time of a statement, two
 * minutes on Supabase. Waiting for a lock stays bounded, and Postgres aborts the transaction once it is idle for 60 s.
 */
export const withoutStatementTimeout = (sql: SqlClient): Effect.Effect<void, SqlError> =>
  Effect.all(
    [
      sql`SET LOCAL statement_timeout = 0`,
      // Again: a pooler may keep the parameters of a connection for itself.
      sql.unsafe(`SET LOCAL lock_timeout = '${longestLockWait}'`),
      sql.unsafe(abortIdleTransaction)
    ],
    { discard: true }
  )

const isPassingFault = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && isPassing(error as SqlError)

/** For the steps of a run: retries for as long as an outage may last. Permanent faults are not retried. */
export const retryDatabaseOutage = retryOutageOf("the database", isPassingFault, (error) =>
  sqlMessage(error as SqlError)
)

/**
 * A statement that is not answered in time has failed, and the driver closes its connection: a connection that a proxy has
 * dropped stays open and silent for ever.
 */
const answeredIn =
  (duration: "10 seconds" | "45 seconds") =>
  <A, E, R>(effect: Effect.Effect<A, E | SqlError, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.timeoutOrElse(effect, {
      duration,
      orElse: () => {
        const cause = new Error(`no answer in ${duration}`)
        return Effect.fail(new SqlError({ reason: new ConnectionError({ cause, message: cause.message }) }))
      }
    })
/** For short queries, which wait for no lock. */
export const answered = answeredIn("10 seconds")
/** For short changes: longer than any of them waits for a lock. */
export const changed = answeredIn("45 seconds")

/** For requests, which are answered within seconds: a few retries of passing faults. */
export const briefRetries = {
  while: isPassingFault,
  schedule: Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(Schedule.jittered),
  times: 6
}

interface Tagged {
  readonly _tag: string
}

/** Retries an effect this way, but not inside a transaction: nothing but all of it can be repeated. */
export const retriedOutsideTransaction =
  (
    sql: SqlClient,
    retried: <A, E extends Tagged>(effect: Effect.Effect<A, E | SqlError>) => Effect.Effect<A, E | SqlError>
  ) =>
  <A, E extends Tagged>(effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
    Effect.flatMap(Effect.serviceOption(sql.transactionService), (transaction) =>
      Option.isSome(transaction) ? effect : retried(effect)
    )

/** The rows of a statement, by their schema. A row that does not fit is a defect: the statement is ours as well. */
export const rowsAs = <A>(schema: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownEffect(Schema.Array(schema))
  return <E, R>(statement: Effect.Effect<ReadonlyArray<object>, E, R>): Effect.Effect<ReadonlyArray<A>, E, R> =>
    Effect.flatMap(statement, (rows) => Effect.orDie(decode(rows)))
}

/** The same for a statement that always returns one row. */
export const rowAs = <A>(schema: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return <E, R>(statement: Effect.Effect<ReadonlyArray<object>, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(statement, ([row]) => Effect.orDie(decode(row)))
}

/** SQL of a time as ISO 8601 text in UTC, with milliseconds. */
export const isoTime = (column: string): string =>
  `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** The fields of an error of the server, as far as it sent them (PostgreSQL manual, 55.8). */
export const sqlFields = (error: SqlError): { readonly code?: string; readonly detail?: string } =>
  (error.reason.cause ?? {}) as { readonly code?: string; readonly detail?: string }

/** SQLSTATE classes of what values have caused: data, constraints, errors that triggers raise, limits of size. */
const ofValues = /^(?:22|23|P0|54)/
/** True when the rows themselves were refused: the same rows will be refused again. */
export const isOfValues = (error: SqlError): boolean => ofValues.test(sqlFields(error).code ?? "")

/** SQLSTATEs that have a word of their own (PostgreSQL manual, appendix A). */
const words: Readonly<Record<string, string>> = {
  "25006": "ReadOnly",
  "42501": "Denied",
  "53100": "DiskFull",
  "53300": "NoConnectionFree"
}

/** What the server said, without the statement and its parameters: those may hold product data. */
export const sqlMessage = (error: SqlError): string => {
  const cause: unknown = error.reason.cause
  const text = printable(cause instanceof Error ? cause.message : "", 500)
  const word = words[sqlFields(error).code ?? ""] ?? error.reason._tag
  return `${word}: ${text === "" ? error.message : text}`
}
