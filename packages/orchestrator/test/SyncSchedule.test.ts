import { assert, layer } from "@effect/vitest"
import { DatabaseClock } from "@medipim/platform/database/DatabaseClock"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Draining } from "@medipim/platform/process/Draining"
import { dailyAt } from "@medipim/testing/DailyCron"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Clock, Context, Effect, Fiber, Layer, Option, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import * as Engine from "../src/Engine.ts"
import { Notifier } from "../src/Notifier.ts"
import * as OverdueAlarm from "../src/OverdueAlarm.ts"
import { Runs } from "../src/Runs.ts"
import { SyncFailed } from "../src/ServiceCalls.ts"
import { Steps } from "../src/Steps.ts"
import * as Sync from "../src/Sync.ts"
import { SyncSchedule } from "../src/SyncSchedule.ts"
import { WaitReporter } from "../src/WaitReporter.ts"

const nightly = "0 2 * * *"
const sydney = "Australia/Sydney"

const poolOf = (name: string) =>
  Layer.unwrap(
    Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, name))
  )
const pool = poolOf("medipim-orchestrator-test")
const database = Migrations.layer.pipe(Layer.provideMerge(poolOf("test")), Layer.provideMerge(TestDatabase.layer))

/** A run is over as soon as it has begun: only its beginning matters here. */
const steps = Layer.succeed(
  Steps,
  Steps.of({
    fetch: () => Effect.fail(new SyncFailed({ code: "Lost", message: "There is no source.", retryable: false })),
    choose: () => Effect.never,
    stage: () => Effect.never,
    publish: () => Effect.never,
    prune: () => Effect.void,
    notify: () => Effect.succeed(null)
  })
)
const noWaits = Layer.succeed(WaitReporter, WaitReporter.of({ report: () => Effect.never }))

/** Whom it notifies of a sync that cannot begin. */
const notified: Array<string> = []
const notifier = Layer.succeed(
  Notifier,
  Notifier.of({
    send: () => Effect.void,
    notifySyncCannotStart: (due, reason) => Effect.sync(() => notified.push(`${due} ${reason}`))
  })
)

/** Here the database has the time of the test. */
const clock = Layer.succeed(DatabaseClock, DatabaseClock.of({ now: Clock.currentTimeMillis }))

/** All attempts to begin a run: a refused second one, too, would be a start too many. */
let attempts = 0
const records = Layer.effect(
  RunRecords,
  Effect.map(RunRecords, (inner) =>
    RunRecords.of({
      ...inner,
      begin: (options) => {
        attempts++
        return inner.begin(options)
      }
    })
  )
).pipe(Layer.provide(RunRecords.layer))

/** The schedule of an orchestrator with an engine and connections of its own, until the scope closes. */
const orchestrator = Effect.fnUntraced(function* (cron: string | null, watched = false, timezone = sydney) {
  const config = { cron: Option.fromNullOr(cron), timezone }
  const parts = watched ? SyncSchedule.watch(config) : Layer.empty
  const context = yield* Layer.build(
    Layer.fresh(
      parts.pipe(
        Layer.provideMerge(SyncSchedule.layer(config)),
        Layer.provide(Runs.layer(20_000)),
        Layer.provide(Sync.layer),
        Layer.provide([steps, noWaits, notifier, clock, Draining.layer]),
        Layer.provideMerge(records),
        Layer.provide(Engine.layer),
        Layer.provide(pool)
      )
    )
  )
  return { ...Context.get(context, SyncSchedule), begin: Context.get(context, RunRecords).begin }
})

/** Does this when the clock of the orchestrator shows that time in Sydney (in winter). */
const at = <A, E, R>(local: string, effect: Effect.Effect<A, E, R>) =>
  Effect.andThen(TestClock.setTime(Date.parse(`${local}+10:00`)), effect).pipe(Effect.provide(TestClock.layer()))

/** Waits until no run goes on, and tells how many there were. */
const runs = Effect.gen(function* () {
  const sql = yield* SqlClient
  const count = (status: string) =>
    sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM medipim.sync_runs WHERE status LIKE ${status}`.pipe(
      Effect.map(([row]) => row?.n ?? 0)
    )
  yield* count("running").pipe(
    Effect.filterOrFail((n) => n === 0),
    Effect.retry(Schedule.spaced("20 millis"))
  )
  return yield* count("%")
})

const anew = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`DELETE FROM medipim.sync_runs`
  yield* sql`DELETE FROM medipim.sync_schedule`
  attempts = 0
})

layer(database, { excludeTestServices: true })("The schedule", (it) => {
  it.effect("starts each night's sync once, with two orchestrators that look at the same moment", () =>
    Effect.gen(function* () {
      yield* anew
      const one = yield* orchestrator(nightly)
      const other = yield* orchestrator(nightly)
      yield* at("2026-07-01T12:00:00", one.look)
      for (let night = 2; night <= 9; night++) {
        const race = Effect.all([one.look, other.look, one.look, other.look], { concurrency: "unbounded" })
        yield* at(`2026-07-0${night}T01:59:59`, race)
        assert.strictEqual(yield* runs, night - 2)
        yield* at(`2026-07-0${night}T02:00:00`, race)
        assert.strictEqual(yield* runs, night - 1)
        yield* at(`2026-07-0${night}T02:00:00.001`, race)
        yield* at(`2026-07-0${night}T23:59:59`, race)
        assert.strictEqual(yield* runs, night - 1)
      }
      assert.strictEqual(attempts, 8)
    })
  )

  it.effect("makes up once for the nights on which no process was up, and for none that was started", () =>
    Effect.gen(function* () {
      yield* anew
      const look = (local: string) =>
        Effect.scoped(
          Effect.flatMap(orchestrator(nightly), (schedule) => Effect.andThen(at(local, schedule.look), runs))
        )
      assert.strictEqual(yield* look("2026-07-01T12:00:00"), 0)
      assert.strictEqual(yield* look("2026-07-05T04:30:00"), 1)
      assert.strictEqual(yield* look("2026-07-05T09:00:00"), 1)
      assert.strictEqual(yield* look("2026-07-06T01:00:00"), 1)
      assert.strictEqual(yield* look("2026-07-06T02:00:10"), 2)
      assert.strictEqual(yield* look("2026-07-06T04:30:00"), 2)
      // Too late for the seventh, too early for the eighth.
      assert.strictEqual(yield* look("2026-07-08T00:30:00"), 2)
      assert.strictEqual(yield* look("2026-07-08T03:00:00"), 3)
      assert.strictEqual(attempts, 3)
    })
  )

  it.effect("counts an occurrence as done when a sync is running already", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      const schedule = yield* orchestrator(nightly)
      yield* at("2026-07-01T12:00:00", schedule.look)
      const running = yield* schedule.begin({ mode: "notification-only" })
      notified.length = 0
      yield* at("2026-07-02T02:00:00", schedule.look)
      assert.lengthOf(notified, 1)
      assert.include(notified[0], `2026-07-01T16:00:00.000Z Sync ${running.runId} is running`)
      yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded', ended_at = now()`
      yield* at("2026-07-02T02:10:00", schedule.look)
      assert.strictEqual(yield* runs, 1)
      assert.strictEqual(attempts, 2)
      yield* at("2026-07-03T02:00:00", schedule.look)
      assert.strictEqual(yield* runs, 2)
    })
  )

  it.effect("counts from the moment at which it was set, changed, or switched on again", () =>
    Effect.gen(function* () {
      yield* anew
      const look = (local: string, cron: string | null) =>
        Effect.scoped(
          Effect.flatMap(orchestrator(cron), ({ look, keep }) =>
            Effect.andThen(at(local, cron === null ? keep : look), runs)
          )
        )
      yield* look("2026-07-01T04:00:00", nightly)
      yield* look("2026-07-01T10:00:00", "0 9 * * *")
      yield* look("2026-07-02T08:00:00", null)
      assert.strictEqual(yield* look("2026-07-02T11:00:00", "0 9 * * *"), 0)
      assert.strictEqual(yield* look("2026-07-03T09:00:00", "0 9 * * *"), 1)
    })
  )

  it.effect("is not held up by a mark in the future, which a wrong clock has set", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      const schedule = yield* orchestrator(nightly)
      yield* at("2026-07-01T12:00:00", schedule.look)
      yield* sql`UPDATE medipim.sync_schedule SET handled_until = '2036-01-01T00:00:00Z'`
      yield* at("2026-07-01T12:01:00", schedule.look)
      yield* at("2026-07-02T01:59:59", schedule.look)
      assert.strictEqual(yield* runs, 0)
      yield* at("2026-07-02T02:00:00", schedule.look)
      assert.strictEqual(yield* runs, 1)
      yield* at("2026-07-02T02:00:01", schedule.look)
      assert.strictEqual(yield* runs, 1)
    })
  )

  it.effect("tells when the next sync starts, and nothing without a schedule", () =>
    Effect.gen(function* () {
      const schedule = yield* orchestrator(nightly)
      assert.deepStrictEqual(yield* at("2026-07-01T02:00:00", schedule.next), Option.some("2026-07-01T16:00:00.000Z"))
      assert.deepStrictEqual(yield* (yield* orchestrator(null)).next, Option.none())
    })
  )

  it.effect("wakes by itself at the right time", () =>
    Effect.gen(function* () {
      yield* anew
      const schedule = yield* orchestrator(nightly)
      const clock = yield* Clock.Clock
      const sql = yield* SqlClient
      const dueAt = Date.parse("2026-07-02T02:00:00+10:00")
      /** The schedule gets a moment of real time to look and to lie down again. */
      const begun = Effect.andThen(
        Effect.provideService(Effect.sleep("40 millis"), Clock.Clock, clock),
        sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM medipim.sync_runs`
      ).pipe(Effect.map(([row]) => row?.n ?? 0))
      yield* at(
        "2026-07-01T12:00:00",
        Effect.gen(function* () {
          const keeping = yield* Effect.forkChild(schedule.keep)
          yield* TestClock.setTime(dueAt - 90_000)
          while ((yield* Clock.currentTimeMillis) < dueAt - 10_000) {
            assert.strictEqual(yield* begun, 0)
            yield* TestClock.adjust("10 seconds")
          }
          assert.strictEqual(yield* begun, 0)
          while ((yield* begun) === 0) yield* TestClock.adjust("1 second")
          assert.isAtLeast(yield* Clock.currentTimeMillis, dueAt)
          yield* TestClock.adjust("2 hours")
          assert.strictEqual(yield* begun, 1)
          yield* Fiber.interrupt(keeping)
        })
      )
      assert.strictEqual(yield* runs, 1)
    })
  )

  it.effect("is kept by one of two orchestrators, and by the other one once the first is gone", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      // Due three hours ago; nobody was up since yesterday.
      const cron = dailyAt((yield* Clock.currentTimeMillis) - 3 * 60 * 60 * 1000)
      const miss = sql`INSERT INTO medipim.sync_schedule (cron, timezone, handled_until)
        VALUES (${cron}, 'UTC', now() - interval '1 day') ON CONFLICT (one_row) DO UPDATE SET handled_until = EXCLUDED.handled_until`
      const started = (n: number) =>
        runs.pipe(
          Effect.filterOrFail((found) => found >= n),
          Effect.retry(Schedule.spaced("50 millis"))
        )
      const lasting = yield* Effect.scope
      yield* miss
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* orchestrator(cron, true, "UTC")
          assert.strictEqual(yield* started(1), 1)
          yield* orchestrator(cron, true, "UTC").pipe(Scope.provide(lasting))
          yield* miss
        })
      )
      assert.strictEqual(yield* started(2), 2)
      assert.strictEqual(attempts, 2)
    })
  )

  it.effect("tells once of a sync that is due and does not begin, with the reason of the database", () =>
    Effect.gen(function* () {
      yield* anew
      const sql = yield* SqlClient
      const config = { cron: Option.some(nightly), timezone: sydney }
      const alarm = yield* at("2026-07-01T12:00:00", OverdueAlarm.make(config)).pipe(Effect.provide([notifier, clock]))
      const schedule = yield* orchestrator(nightly)
      yield* at("2026-07-01T12:00:00", schedule.look)
      yield* at("2026-07-02T02:00:00", schedule.look)
      yield* runs
      notified.length = 0
      const looks = (...times: ReadonlyArray<string>) =>
        Effect.forEach(times, (time) => Effect.map(at(time, alarm.look), () => notified.length))
      assert.deepStrictEqual(yield* looks("2026-07-02T02:10:00", "2026-07-02T03:00:00"), [0, 0], "one that began")

      const due = "2026-07-02T16:00:00.000Z"
      assert.deepStrictEqual(
        yield* looks("2026-07-03T01:59:00", "2026-07-03T02:00:00", "2026-07-03T02:03:59", "2026-07-03T02:04:00"),
        [0, 0, 0, 1]
      )
      assert.deepStrictEqual(notified, [`${due} no orchestrator took it up; their logs have the reason.`])
      assert.deepStrictEqual(yield* looks("2026-07-03T02:05:00", "2026-07-03T09:00:00"), [1, 1], "told once")
      yield* at("2026-07-03T09:10:00", schedule.look)
      assert.deepStrictEqual(yield* looks("2026-07-03T09:20:00", "2026-07-04T01:00:00"), [1, 1], "made up for")

      // A mark of a wrong clock hides nothing.
      notified.length = 0
      yield* sql`UPDATE medipim.sync_schedule SET handled_until = '2036-01-01T00:00:00Z'`
      assert.deepStrictEqual(yield* looks("2026-07-04T02:00:00", "2026-07-04T02:04:00"), [0, 1])
      yield* at("2026-07-04T02:10:00", schedule.look)

      // The same with a database that takes no changes, on connections made from now on.
      notified.length = 0
      yield* Effect.acquireUseRelease(
        sql`ALTER DATABASE postgres SET default_transaction_read_only = on`,
        () =>
          OverdueAlarm.make(config).pipe(
            Effect.flatMap(({ look }) =>
              Effect.gen(function* () {
                yield* at("2026-07-05T03:00:00", look)
                assert.lengthOf(notified, 1, "at once: the database says why")
                yield* at("2026-07-05T03:04:00", look)
              })
            ),
            Effect.provide([notifier, clock, Layer.fresh(pool)])
          ),
        () => Effect.orDie(sql`ALTER DATABASE postgres RESET default_transaction_read_only`)
      )
      assert.lengthOf(notified, 1)
      assert.match(notified[0] ?? "", /ReadOnly: it takes no changes \(default_transaction_read_only is on\)$/)
    })
  )
})
