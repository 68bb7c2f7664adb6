import { assert, layer } from "@effect/vitest"
import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { Draining } from "@medipim/platform/process/Draining"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Duration, Effect, Layer, Option, Schedule } from "effect"
import { FetchHttpClient } from "effect/http"
import { SqlClient } from "effect/sql/SqlClient"
import * as Database from "../src/Database.ts"
import * as Engine from "../src/Engine.ts"
import { MachineWaker } from "../src/MachineWaker.ts"
import { Notifier } from "../src/Notifier.ts"
import { Runs } from "../src/Runs.ts"
import { SnapshotSelection } from "../src/SnapshotSelection.ts"
import { Steps } from "../src/Steps.ts"
import * as Sync from "../src/Sync.ts"
import { WaitReporter } from "../src/WaitReporter.ts"

const snapshot = {
  snapshotId: "20261125T020000Z-00000001",
  startedAt: "2026-11-25T02:00:00.000Z",
  finishedAt: "2026-11-25T02:10:00.000Z",
  records: 100,
  bytes: 1000,
  compressedBytes: 100,
  parts: 1,
  complete: true
}
const counts = {
  records: 100,
  inserted: 1,
  updated: 2,
  unchanged: 90,
  stale: 0,
  restored: 3,
  removed: 4,
  rejected: 0,
  duplicates: 0
}

/** Who is asked answers at once; a publish is committed, and its answer is never heard. */
const services = Layer.merge(
  Layer.succeed(FetcherClient, {
    snapshots: () => Effect.succeed({ snapshots: [snapshot] }),
    prune: () => Effect.succeed({ removed: [] })
  } as never),
  Layer.effect(
    MaintainerClient,
    Effect.map(SqlClient, (sql) => {
      const publish = ({ payload: { runId, snapshotId } }: { payload: { runId: string; snapshotId: string } }) => {
        const result = JSON.stringify({ runId, published: true, counts, warnings: [] })
        return Effect.andThen(
          sql`UPDATE medipim.sync_runs SET published_at = now(), snapshot_id = ${snapshotId},
            result = ${result}::jsonb WHERE id = ${runId}`,
          Effect.fail({ _tag: "Unavailable", message: "The manifest cannot be read.", retryable: false })
        )
      }
      return { publish } as never
    })
  )
)

const pool = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) =>
    Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, "medipim-orchestrator-test")
  )
)

/** An orchestrator without its HTTP, on a database of its own. */
const orchestrator = Runs.layer(20_000).pipe(
  Layer.provide(Sync.layer),
  Layer.provide([Steps.layer({ chunkConcurrency: 1, maxRunDuration: Duration.hours(1) }), WaitReporter.layer]),
  Layer.provide([Notifier.layer(Option.none()), SnapshotSelection.layer]),
  Layer.provide([services, Layer.succeed(MachineWaker, MachineWaker.of({ wake: () => Effect.void }))]),
  Layer.provide([Database.layer(90), FetchHttpClient.layer, Draining.layer]),
  Layer.provide(Engine.layer.pipe(Layer.provide(Migrations.layer))),
  Layer.provideMerge(pool),
  Layer.provide(TestDatabase.layer)
)

/** The next so many attempts of the engine to note that a run or one of its steps begins find no connection free. */
const noConnection = Effect.fnUntraced(function* (what: "run" | "activity", times: number) {
  const sql = yield* SqlClient
  yield* sql`DROP TRIGGER IF EXISTS away ON medipim.cluster_messages`
  yield* sql`DROP SEQUENCE IF EXISTS public.turns`
  yield* sql`CREATE SEQUENCE public.turns`
  yield* sql.unsafe(`CREATE OR REPLACE FUNCTION public.away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('public.turns') <= ${times} THEN
      RAISE EXCEPTION 'sorry, too many clients already' USING ERRCODE = '53300';
    END IF;
    RETURN NEW; END $$`)
  yield* sql.unsafe(`CREATE TRIGGER away BEFORE INSERT ON medipim.cluster_messages
    FOR EACH ROW WHEN (NEW.tag = '${what}') EXECUTE FUNCTION public.away()`)
})

const attempts = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(sql<{ readonly n: number }>`SELECT last_value::int AS n FROM public.turns`, ([row]) => row?.n ?? 0)
)

const ended = Effect.fnUntraced(function* (id: string) {
  const { find } = yield* Runs
  return yield* find(id).pipe(
    Effect.repeat({ until: ({ status }) => status !== "running", schedule: Schedule.spaced("50 millis") })
  )
})

layer(orchestrator, { excludeTestServices: true, timeout: "60 seconds" })("An orchestrator", (it) => {
  it.effect("runs each step once although the database is unavailable when the engine records its start", () =>
    Effect.gen(function* () {
      const { start } = yield* Runs
      yield* noConnection("activity", 5)
      const { runId } = yield* start({ mode: "maintain-only", snapshotId: "20200101T000000Z-00000001" as never })
      const { failure, status } = yield* ended(runId)
      assert.strictEqual(status, "failed")
      assert.strictEqual(failure?.code, "SnapshotNotFound")
      assert.isAbove(yield* attempts, 5)
    })
  )

  it.effect("sets a run going that could not be when it was begun", () =>
    Effect.gen(function* () {
      const { recover, start } = yield* Runs
      yield* noConnection("run", 2)
      const { runId, status } = yield* start({ mode: "maintain-only", offset: 100 })
      assert.strictEqual(status, "running")
      // A look that fails, too, is followed by another one.
      yield* recover
      assert.strictEqual(yield* attempts, 2)
      yield* recover
      assert.strictEqual((yield* ended(runId)).status, "succeeded")
    })
  )

  it.effect("ends a run with what it has published, though it never hears of it", () =>
    Effect.gen(function* () {
      const { start } = yield* Runs
      const sql = yield* SqlClient
      yield* sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at, ended_at)
        VALUES (${snapshot.snapshotId}, 'fetch-only', '{}', 'succeeded', 'idle', '{}', now(), now())`
      // An empty range needs no chunk.
      const { runId } = yield* start({ mode: "maintain-only", offset: 100 })
      const { failure, progress, status } = yield* ended(runId)
      assert.strictEqual(status, "succeeded")
      assert.isNull(failure)
      const { records: _records, ...published } = counts
      assert.deepInclude(progress, published)
    })
  )

  it.effect("fails a run that was to tell people and told nobody", () =>
    Effect.gen(function* () {
      const { start } = yield* Runs
      const { runId } = yield* start({ mode: "notification-only" })
      const { failure, status } = yield* ended(runId)
      assert.strictEqual(status, "failed")
      assert.strictEqual(failure?.code, "NotTold")
      assert.match(failure?.message ?? "", /NOTIFY_URL is not set/)
    })
  )
})
