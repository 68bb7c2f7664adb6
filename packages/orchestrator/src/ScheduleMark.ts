import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** Until when all occurrences of a schedule were acted on, in milliseconds since 1970: the row of `medipim.sync_schedule`. */
export interface ScheduleMark {
  readonly cron: string
  readonly timezone: string
  readonly millis: number
}

export const scheduleMark = Effect.flatMap(
  SqlClient,
  (sql) => sql<ScheduleMark>`SELECT cron, timezone, (extract(epoch FROM handled_until) * 1000)::float8 AS millis
    FROM medipim.sync_schedule`
).pipe(Effect.map(([row]) => row))
