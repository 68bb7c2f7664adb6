import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

interface Holder {
  readonly pid: number
  readonly program: string
  readonly role: string
  readonly since: string | null
}

/** Who holds the lock that this connection waits for, in words; `undefined` while it waits for none. */
export const lockHolder = Effect.fnUntraced(function* (pid: number) {
  const sql = yield* SqlClient
  const [holder] = yield* sql<Holder>`
    SELECT b.pid, coalesce(nullif(b.application_name, ''), 'unnamed') AS program, coalesce(b.usename, '') AS role,
      to_char(b.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM unnest(pg_blocking_pids(${pid})) AS blocking(pid) JOIN pg_stat_activity AS b USING (pid)
    ORDER BY b.xact_start NULLS LAST LIMIT 1`
  if (holder === undefined) return undefined
  const since = holder.since === null ? "" : `, in a transaction since ${holder.since}`
  return `process ${holder.pid} (${holder.program}, role ${holder.role}${since}) holds it`
})
