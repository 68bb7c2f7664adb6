import { rowsAs } from "@medipim/platform/database/Postgres"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** Until when all occurrences of a schedule were acted on, in milliseconds since 1970: the row of `medipim.sync_schedule`. */
const ScheduleMark = Schema.Struct({ cron: Schema.String, timezone: Schema.String, millis: Schema.Finite })
export type ScheduleMark = typeof ScheduleMark.Type

export const scheduleMark = Effect.flatMap(
  SqlClient,
  (sql) => sql`SELECT cron, timezone, (extract(epoch FROM handled_until) * 1000)::float8 AS millis
    FROM medipim.sync_schedule`
).pipe(
  rowsAs(ScheduleMark),
  Effect.map(([row]) => row)
)
