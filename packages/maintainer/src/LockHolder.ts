import { rowsAs } from "@medipim/platform/database/Postgres"
import { watch } from "@medipim/platform/process/Outage"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

const Holder = Schema.Struct({
  pid: Schema.Int,
  program: Schema.String,
  role: Schema.String,
  since: Schema.NullOr(Schema.String)
})

/** Who holds the lock that a connection of this service waits for, in words; `undefined` while none waits. */
const lockHolder = Effect.gen(function* () {
  const sql = yield* SqlClient
  const [holder] = yield* sql`
    SELECT b.pid, coalesce(nullif(b.application_name, ''), 'unnamed') AS program, coalesce(b.usename, '') AS role,
      to_char(b.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS blocking(pid) JOIN pg_stat_activity AS b USING (pid)
    WHERE a.datname = current_database() AND a.application_name = current_setting('application_name')
      AND a.wait_event_type = 'Lock'
    ORDER BY b.xact_start NULLS LAST LIMIT 1`.pipe(rowsAs(Holder))
  if (holder === undefined) return undefined
  const since = holder.since === null ? "" : `, in a transaction since ${holder.since}`
  return `process ${holder.pid} (${holder.program}, role ${holder.role}${since}) holds it`
})

const pollInterval = "2 seconds"

/** Shows who holds the lock that this effect waits for, while it does; `onHolder` hears of each. */
export const showingLocks =
  (onHolder: (holder: string) => void = () => {}) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | SqlClient> =>
    Effect.raceFirst(
      effect,
      watch(
        "a lock in the database",
        lockHolder.pipe(
          // An outage is reported by the query that meets it.
          Effect.orElseSucceed(() => undefined),
          Effect.tap((holder) => Effect.sync(() => (holder === undefined ? undefined : onHolder(holder))))
        ),
        pollInterval
      )
    )
