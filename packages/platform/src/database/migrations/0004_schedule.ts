import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** Until when the built-in schedule has acted: one row, or none while there is no schedule. */
export const schedule = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE medipim.sync_schedule (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    cron text NOT NULL,
    timezone text NOT NULL,
    handled_until timestamptz NOT NULL
  )`
})
