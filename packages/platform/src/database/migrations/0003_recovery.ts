import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** What cancelling, replaying and notifying have to remember. */
export const recovery = Effect.gen(function* () {
  const sql = yield* SqlClient
  // A table of its own: while a publish holds the row of the run, the wish to stop it must still get through.
  yield* sql`CREATE TABLE medipim.sync_cancellations (
    run_id text PRIMARY KEY REFERENCES medipim.sync_runs ON DELETE CASCADE,
    requested_at timestamptz NOT NULL DEFAULT now()
  )`
  yield* sql`ALTER TABLE medipim.sync_runs ADD COLUMN notified_at timestamptz`
  yield* sql`ALTER TABLE medipim.rejected_records ADD COLUMN replayed_by text`
})
