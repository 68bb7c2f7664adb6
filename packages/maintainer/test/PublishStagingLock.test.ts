import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { beginRun, empty, products, services, stageAll, stagedRun, sync, unstorable } from "./Fixture.ts"

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A publish", (it) => {
  it.effect("publishes nothing for a run that has ended", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const { runId, snapshotId } = yield* stagedRun(products(10))
      yield* beginRun()
      const refused = yield* Effect.flip((yield* Publish).run({ runId, snapshotId }))
      assert.strictEqual(refused._tag === "PublishRefused" && refused.reason, "not-running")
      assert.deepStrictEqual(yield* sql`SELECT id FROM public.products`, [])
      const late = yield* Effect.flip(stageAll(runId, snapshotId))
      assert.strictEqual(late._tag, "RunNotRunning")
    })
  )

  it.effect("publishes nothing for a run that somebody asked to cancel, though its record still says running", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const { runId, snapshotId } = yield* stagedRun(products(10))
      yield* sql`INSERT INTO medipim.sync_cancellations (run_id) VALUES (${runId})`
      const refused = yield* Effect.flip((yield* Publish).run({ runId, snapshotId }))
      assert.strictEqual(refused._tag === "PublishRefused" && refused.reason, "not-running")
      assert.deepStrictEqual(yield* sql`SELECT id FROM public.products`, [])
    })
  )

  it.effect("loses nothing to a call of its own staging that comes late", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      yield* sync(products(30))
      const changed = products(30).map((one) => ({ ...one, publicPrice: 1 }))
      const { runId, snapshotId } = yield* stagedRun([...changed, { id: "M000000099", ...unstorable }])
      const before = yield* sql`SELECT * FROM medipim.rejected_records ORDER BY record`
      const isLocked = yield* Deferred.make<void>()
      const letGo = yield* Deferred.make<void>()
      const lock = sql`LOCK TABLE public.products IN SHARE MODE`.pipe(
        Effect.andThen(Deferred.succeed(isLocked, undefined)),
        Effect.andThen(Deferred.await(letGo)),
        sql.withTransaction
      )
      yield* Effect.forkScoped(lock)
      yield* Deferred.await(isLocked)
      const publishing = yield* Effect.forkScoped((yield* Publish).run({ runId, snapshotId, force: true }))
      yield* sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM pg_locks
        WHERE relation = 'public.products'::regclass AND NOT granted`.pipe(
        Effect.repeat({ until: ([row]) => row?.n === 1, schedule: Schedule.spaced("20 millis") })
      )
      const late = yield* Effect.forkScoped(Effect.flip(stageAll(runId, snapshotId)))
      yield* sql`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%sync_runs%FOR SHARE%'`.pipe(
        Effect.repeat({ until: (waiting) => waiting.length === 1, schedule: Schedule.spaced("20 millis") })
      )
      yield* Deferred.succeed(letGo, undefined)
      assert.strictEqual((yield* Fiber.join(publishing)).counts.updated, 30)
      assert.strictEqual((yield* Fiber.join(late))._tag, "RunNotRunning")
      const [prices] = yield* sql`SELECT count(*)::int AS n FROM public.products
        WHERE (raw ->> 'publicPrice')::int = 1 AND removed_at IS NULL`
      assert.deepStrictEqual(prices, { n: 30 })
      assert.deepStrictEqual(yield* sql`SELECT * FROM medipim.rejected_records ORDER BY record`, before)
      assert.strictEqual(before.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("answers as before when it is asked again, also when the run was to be cancelled after its publish", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const publish = yield* Publish
      const { runId, snapshotId } = yield* stagedRun(products(10))
      const first = yield* publish.run({ runId, snapshotId })
      assert.deepStrictEqual(yield* publish.run({ runId, snapshotId }), first)
      yield* sql`INSERT INTO medipim.sync_cancellations (run_id) VALUES (${runId})`
      for (let turn = 0; turn < 20; turn++) assert.deepStrictEqual(yield* publish.run({ runId, snapshotId }), first)
    })
  )

  it.effect("holds the row of its run for a minute at most when its maintainer is gone, and so does a staging", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE public.limits (at text, idle text)`
      yield* sql.unsafe(`CREATE FUNCTION public.note_limit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.limits VALUES (TG_TABLE_NAME, current_setting('idle_in_transaction_session_timeout'));
        RETURN NULL; END $$`)
      for (const [table, event] of [
        ["medipim.sync_chunks", "DELETE"],
        ["public.products", "INSERT"]
      ]) {
        yield* sql.unsafe(`CREATE TRIGGER note_limit AFTER ${event} ON ${table}
          FOR EACH STATEMENT EXECUTE FUNCTION public.note_limit()`)
      }
      yield* (yield* Publish).run(yield* stagedRun(products(10)))
      const limits = yield* sql`SELECT DISTINCT at, idle FROM public.limits ORDER BY at`
      yield* sql`DROP FUNCTION public.note_limit() CASCADE`
      assert.deepStrictEqual(limits, [
        { at: "products", idle: "1min" },
        { at: "sync_chunks", idle: "1min" }
      ])
      // It is of these transactions alone.
      assert.deepStrictEqual(yield* sql`SHOW idle_in_transaction_session_timeout`, [
        { idle_in_transaction_session_timeout: "0" }
      ])
    })
  )

  it.effect("is not stopped by the limit that the database sets to a statement", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const { runId, snapshotId } = yield* stagedRun(products(10))
      yield* sql.unsafe(`CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.tries'), pg_sleep(0.5); RETURN NEW; END $$`)
      yield* sql`CREATE SEQUENCE public.tries`
      yield* sql`CREATE TRIGGER slow BEFORE INSERT ON public.products FOR EACH STATEMENT EXECUTE FUNCTION public.slow()`
      // New connections have the limit; those of before are ended.
      yield* sql`ALTER ROLE CURRENT_USER SET statement_timeout = '200ms'`
      const end = sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'medipim-maintainer-test' AND pid <> pg_backend_pid()`
      yield* end
      yield* Effect.ignore(sql`SELECT pg_terminate_backend(pg_backend_pid())`)
      const { published } = yield* (yield* Publish).run({ runId, snapshotId })
      yield* sql`ALTER ROLE CURRENT_USER RESET statement_timeout`
      yield* sql`DROP TRIGGER slow ON public.products`
      assert.isTrue(published)
      const [tries] = yield* sql<{ readonly n: number }>`SELECT last_value::int AS n FROM public.tries`
      assert.strictEqual(tries?.n, 1)
    })
  )
})
