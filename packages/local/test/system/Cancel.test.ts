import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ended, TestStack } from "./TestStack.ts"

const products = 500

/** The commit of a publish takes two seconds. */
const slowCommit = Effect.flatMap(SqlClient, (sql) =>
  Effect.andThen(
    sql.unsafe(`CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$`),
    sql.unsafe(`CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON medipim.sync_runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (NEW.published_at IS NOT NULL AND OLD.published_at IS NULL) EXECUTE FUNCTION public.slow()`)
  )
)

layer(TestStack.layer(products), { excludeTestServices: true, timeout: "60 seconds" })("A cancellation", (it) => {
  it.effect("that comes while the publish is committed comes too late: the run succeeds, with all its counts", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const client = yield* OrchestratorClient
      yield* slowCommit
      const { runId } = yield* client.sync({ payload: {} })
      yield* sql`SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'
        AND application_name = 'medipim-maintainer'`.pipe(
        Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("20 millis") })
      )
      yield* client.cancel({ params: { id: runId } })
      const run = yield* ended(runId)
      assert.deepInclude(run, { status: "succeeded", published: true, failure: null })
      assert.deepInclude(run.progress, { inserted: products, percent: 100 })
      const [row] = yield* sql<{ readonly told: boolean }>`
        SELECT notified_at IS NOT NULL AS told FROM medipim.sync_runs WHERE id = ${runId}`
      assert.isTrue(row?.told)
    })
  )
})
