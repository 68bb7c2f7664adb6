import { nextAfter, pendingAt, type Schedule, scheduleOf } from "@medipim/domain/Schedule"
import { DatabaseClock } from "@medipim/platform/database/DatabaseClock"
import { retryDatabaseOutage } from "@medipim/platform/database/Postgres"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Clock, Context, Effect, Layer, Option, Result } from "effect"
import { Singleton } from "effect/cluster"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Notifier } from "./Notifier.ts"
import * as OverdueAlarm from "./OverdueAlarm.ts"
import { Runs } from "./Runs.ts"
import { type ScheduleMark, scheduleMark } from "./ScheduleMark.ts"

/**
 * A machine that was paused, or whose clock was set, does not end a long sleep at the right moment: it looks at least so
 * often. A longer database outage is polled at the same interval.
 */
const longestNapMillis = 60_000

const iso = (millis: number): string => new Date(millis).toISOString()

interface Config {
  readonly cron: Option.Option<string>
  readonly timezone: string
}

/** Starts syncs by itself, each occurrence of the schedule once, whichever process is up to do it. */
export class SyncSchedule extends Context.Service<
  SyncSchedule,
  {
    /** When the next sync starts by itself, as ISO text. */
    readonly next: Effect.Effect<Option.Option<string>, SqlError>
    /** Starts the sync that is due, if one is. May be asked by any number of processes at once. */
    readonly look: Effect.Effect<void, SqlError>
    /** Looks whenever a sync is due, for good. */
    readonly keep: Effect.Effect<void>
  }
>()("orchestrator/SyncSchedule") {
  static readonly layer = (config: Config) =>
    Layer.effect(
      SyncSchedule,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const clock = yield* DatabaseClock
        const records = yield* RunRecords
        const runs = yield* Runs
        const notifier = yield* Notifier

        const mark = Effect.provideService(scheduleMark, SqlClient, sql)
        const isOf = ({ text, timezone }: Schedule, { cron, timezone: zone }: ScheduleMark) =>
          text === cron && timezone === zone

        /**
         * The mark of this schedule; the row stays locked until the transaction ends. Another schedule than last time counts
         * from now: occurrences before the change are not made up for. So does a mark in the future, which a wrong clock
         * has set.
         */
        const lockMark = Effect.fnUntraced(function* ({ text, timezone }: Schedule, now: number) {
          yield* sql`INSERT INTO medipim.sync_schedule AS s (cron, timezone, handled_until)
            VALUES (${text}, ${timezone}, ${iso(now)}::timestamptz)
            ON CONFLICT (one_row) DO UPDATE SET cron = EXCLUDED.cron, timezone = EXCLUDED.timezone, handled_until =
              CASE WHEN (s.cron, s.timezone) = (EXCLUDED.cron, EXCLUDED.timezone)
                AND s.handled_until <= EXCLUDED.handled_until
                THEN s.handled_until ELSE EXCLUDED.handled_until END`
          return yield* mark
        })

        /** Marks the occurrence that is due and begins its run, both or neither. */
        const claim = Effect.fnUntraced(function* (schedule: Schedule) {
          const now = yield* clock.now
          const current = yield* lockMark(schedule, now)
          const pending = current === undefined ? undefined : pendingAt(schedule, current.millis, now)
          if (pending === undefined) return Option.none()
          const due = iso(pending.at)
          yield* sql`UPDATE medipim.sync_schedule SET handled_until = ${due}::timestamptz`
          if (!pending.inTime) {
            yield* Effect.logWarning(`Skipped the sync due at ${due}: the next occurrence is close`)
            return Option.none()
          }
          // No failure of the transaction: the occurrence stays marked when a running run refuses the new one.
          const begun = yield* records.begin({}).pipe(
            Effect.map(Result.succeed),
            Effect.catchTag("SyncRunning", (refusal) => Effect.succeed(Result.fail(refusal)))
          )
          return Option.some({ due, begun })
        }, sql.withTransaction)

        /** Reads before it writes: most of the time nothing is due. */
        const isQuiet = Effect.fnUntraced(function* (schedule: Schedule) {
          const current = yield* mark
          if (current === undefined || !isOf(schedule, current)) return false
          const now = yield* clock.now
          return current.millis <= now && pendingAt(schedule, current.millis, now) === undefined
        })

        // A process that is killed between the two leaves a record that `Runs.recovery` finds and starts.
        const lookAt = Effect.fn("SyncSchedule.look")(function* (schedule: Schedule) {
          if (yield* isQuiet(schedule)) return
          const claimed = yield* claim(schedule)
          if (Option.isNone(claimed)) return
          const { due, begun } = claimed.value
          if (Result.isFailure(begun)) {
            const { message } = begun.failure
            yield* Effect.logWarning(`The schedule starts no sync for ${due}: ${message}`)
            // Otherwise a hanging run would silently block every night's sync.
            yield* Effect.ignore(notifier.notifySyncCannotStart(due, message), { log: "Warn" })
            return
          }
          yield* Effect.logInfo(`The schedule starts sync ${begun.success.runId}, due at ${due}`)
          yield* Effect.annotateLogs(runs.launch(begun.success), { startedBy: "schedule", due })
        }, retryDatabaseOutage)

        const lookAndRest = Effect.fnUntraced(function* (schedule: Schedule) {
          yield* Effect.ignoreCause(lookAt(schedule), { log: "Warn" })
          const now = yield* clock.now.pipe(Effect.catch(() => Clock.currentTimeMillis))
          yield* Effect.sleep(Math.min(nextAfter(schedule, now) - now, longestNapMillis))
        })

        const keepAt = (schedule: Schedule) =>
          Effect.logInfo(`Syncs start by the schedule ${schedule.text} in ${schedule.timezone}`).pipe(
            Effect.andThen(Effect.forever(lookAndRest(schedule)))
          )

        /** A schedule that was switched off has missed nothing when it is switched on again. */
        const forget = sql`DELETE FROM medipim.sync_schedule`.pipe(retryDatabaseOutage, Effect.ignore({ log: "Warn" }))

        const configured = Option.map(config.cron, (text) => scheduleOf(text, config.timezone))
        return SyncSchedule.of({
          next: Option.match(configured, {
            onNone: () => Effect.succeedNone,
            onSome: (schedule) => Effect.map(clock.now, (now) => Option.some(iso(nextAfter(schedule, now))))
          }),
          look: Option.match(configured, { onNone: () => Effect.void, onSome: lookAt }),
          keep: Option.match(configured, { onNone: () => forget, onSome: keepAt })
        })
      })
    )

  /**
   * Keeps the schedule in the one process that the workflow engine has at work; one that stands by does so when it takes
   * over. All of them raise the alarm when a sync does not begin.
   */
  static readonly watch = (config: Config) =>
    Layer.merge(
      Layer.unwrap(Effect.map(SyncSchedule, ({ keep }) => Singleton.make("SyncSchedule", keep))),
      OverdueAlarm.layer(config)
    )
}
