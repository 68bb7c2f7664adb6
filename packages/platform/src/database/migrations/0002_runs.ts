import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** The runs and the chunks that they staged. */
export const runs = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE medipim.sync_runs (
    id text PRIMARY KEY,
    mode text NOT NULL,
    options jsonb NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled')),
    phase text NOT NULL,
    snapshot_id text,
    progress jsonb NOT NULL,
    failure jsonb,
    result jsonb,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    published_at timestamptz
  )`
  // Two syncs at once cannot be: the second insert fails, whoever tries it.
  yield* sql`CREATE UNIQUE INDEX sync_runs_one_running ON medipim.sync_runs (status) WHERE status = 'running'`
  yield* sql`CREATE TABLE medipim.sync_chunks (
    run_id text NOT NULL REFERENCES medipim.sync_runs ON DELETE CASCADE,
    first_record int NOT NULL,
    records int NOT NULL,
    inserted int NOT NULL,
    updated int NOT NULL,
    restored int NOT NULL,
    unchanged int NOT NULL,
    stale int NOT NULL,
    rejected int NOT NULL,
    staged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, first_record)
  )`
})
