import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** What is newer is what the database saw later: ids hold the time of a process, which may be wrong. */
export const publishOrder = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`ALTER TABLE medipim.sync_runs ADD COLUMN seq bigint`
  yield* sql`UPDATE medipim.sync_runs AS r SET seq = n.place
    FROM (SELECT id, row_number() OVER (ORDER BY started_at, id) AS place FROM medipim.sync_runs) AS n
    WHERE n.id = r.id`
  yield* sql`ALTER TABLE medipim.sync_runs ALTER COLUMN seq SET NOT NULL,
    ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY`
  yield* sql`SELECT setval(pg_get_serial_sequence('medipim.sync_runs', 'seq'), coalesce(max(seq), 1), count(*) > 0)
    FROM medipim.sync_runs`
  yield* sql`CREATE UNIQUE INDEX sync_runs_seq ON medipim.sync_runs (seq)`
  // A snapshot is named after the run that fetched it. One that no run of this database fetched is as new as the run that
  // published it: nothing that was requested before that run can be newer for sure.
  yield* sql`CREATE VIEW medipim.published_snapshots AS
    SELECT p.id AS run_id, p.seq AS run_seq, p.snapshot_id, coalesce(f.seq, p.seq) AS seq,
      p.mode <> 'replay' AND NOT p.options ?| array['offset', 'limit'] AS whole,
      f.started_at AS requested_at, p.published_at
    FROM medipim.sync_runs AS p LEFT JOIN medipim.sync_runs AS f ON f.id = p.snapshot_id
    WHERE p.published_at IS NOT NULL`
  // Of two lines of a product the later one counts, also when it is the unchanged one: staging has to know where it stands.
  yield* sql`ALTER TABLE medipim.stage_batches ADD COLUMN unchanged text[] NOT NULL DEFAULT '{}',
    ADD COLUMN unchanged_at int[] NOT NULL DEFAULT '{}'`
})
