import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** What a run waits for. A table of its own: while a publish holds the row of the run, this must still get through. */
export const waits = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE medipim.sync_waits (
    run_id text PRIMARY KEY REFERENCES medipim.sync_runs ON DELETE CASCADE,
    waits jsonb NOT NULL
  )`
})
