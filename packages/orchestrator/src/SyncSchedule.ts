import { nextAfter, pendingAt, type Schedule, scheduleOf } from "@medipim/domain/Schedule"
import { passingFaults } from "@medipim/platform/Postgres"
import { Clock, Context, Effect, Layer, Option } from "effect"
import { Singleton } from "effect/cluster"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { RunRecords } from "./RunRecords.ts"
import { Runs } from "./Runs.ts"

/**
 * A machine that was paused, or whose clock was set, does not end a long sleep at the right moment: it looks at least so
 * often. A database that was away then is asked again as soon, too.
 */
const longestNapMillis = 60_000

const iso = (millis: number): string => new Date(millis).toISOString()

/** Starts syncs by itself, each occurrence of the schedule once, whichever process is up to do it. */
export class SyncSchedule extends Context.Service<
  SyncSchedule,
  {
    /** When the next sync starts by itself, as ISO text. */
    readonly next: Effect.Effect<Option.Option<string>>
    /** Starts the sync that is due, if one is. May be asked by any number of processes at once. */
    readonly look: Effect.Effect<void, SqlError>
    /** Looks whenever a sync is due, for good. */
    readonly keep: Effect.Effect<void>
  }
>()("orchestrator/SyncSchedule") {
  static readonly layer = (config: { readonly cron: Option.Option<string>; readonly timezone: string }) =>
    Layer.effect(
      SyncSchedule,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const records = yield* RunRecords
        const runs = yield* Runs

        /**
         * The row stays locked until the transaction ends. Another schedule than last time counts from now: what it would have
         * done before it was set is nothing that was missed.
         */
        const handledUntil = Effect.fnUntraced(function* ({ text, timezone }: Schedule, now: number) {
          const [row] = yield* sql<{ readonly millis: number }>`
            INSERT INTO medipim.sync_schedule AS s (cron, timezone, handled_until)
            VALUES (${text}, ${timezone}, ${iso(now)}::timestamptz)
            ON CONFLICT (one_row) DO UPDATE SET cron = EXCLUDED.cron, timezone = EXCLUDED.timezone, handled_until =
              CASE WHEN (s.cron, s.timezone) = (EXCLUDED.cron, EXCLUDED.timezone)
                THEN s.handled_until ELSE EXCLUDED.handled_until END
            RETURNING (extract(epoch FROM handled_until) * 1000)::float8 AS millis`
          return row?.millis ?? now
        })

        /** Marks the occurrence that is due and begins its run, both or neither. */
        const claim = Effect.fnUntraced(function* (schedule: Schedule) {
          const now = yield* Clock.currentTimeMillis
          const pending = pendingAt(schedule, yield* handledUntil(schedule, now), now)
          if (pending === undefined) return Option.none()
          const due = iso(pending.at)
          yield* sql`UPDATE medipim.sync_schedule SET handled_until = ${due}::timestamptz`
          if (!pending.inTime) {
            yield* Effect.logWarning(`The sync of ${due} was missed; the next one is close and is waited for`)
            return Option.none()
          }
          return yield* records.begin({}).pipe(
            Effect.map((run) => Option.some({ run, due })),
            Effect.catchTag("SyncRunning", ({ runId }) =>
              Effect.as(
                Effect.logWarning(`The schedule starts no sync for ${due}: sync ${runId} is running`),
                Option.none()
              )
            )
          )
        }, sql.withTransaction)

        // A process that is killed between the two leaves a record that `Runs.recovery` finds and sets going.
        const lookAt = Effect.fn("SyncSchedule.look")(function* (schedule: Schedule) {
          const claimed = yield* claim(schedule)
          if (Option.isNone(claimed)) return
          const { run, due } = claimed.value
          yield* Effect.logInfo(`The schedule starts sync ${run.runId}, due at ${due}`)
          yield* Effect.annotateLogs(runs.launch(run), { startedBy: "schedule", due })
        }, Effect.retry(passingFaults))

        const lookAndRest = Effect.fnUntraced(function* (schedule: Schedule) {
          yield* lookAt(schedule).pipe(Effect.ignoreCause({ log: "Warn" }))
          const now = yield* Clock.currentTimeMillis
          yield* Effect.sleep(Math.min(nextAfter(schedule, now) - now, longestNapMillis))
        })

        const keepAt = (schedule: Schedule) =>
          Effect.logInfo(`Syncs start by the schedule ${schedule.text} in ${schedule.timezone}`).pipe(
            Effect.andThen(Effect.forever(lookAndRest(schedule)))
          )

        /** A schedule that was switched off has missed nothing when it is switched on again. */
        const forget = sql`DELETE FROM medipim.sync_schedule`.pipe(
          Effect.retry(passingFaults),
          Effect.ignore({ log: "Warn" })
        )

        const configured = Option.map(config.cron, (text) => scheduleOf(text, config.timezone))
        return SyncSchedule.of({
          next: Effect.map(Clock.currentTimeMillis, (now) =>
            Option.map(configured, (schedule) => iso(nextAfter(schedule, now)))
          ),
          look: Option.match(configured, { onNone: () => Effect.void, onSome: lookAt }),
          keep: Option.match(configured, { onNone: () => forget, onSome: keepAt })
        })
      })
    )

  /** Keeps the schedule in the one process that the workflow engine has at work; one that stands by does so when it takes over. */
  static readonly watch = Layer.unwrap(Effect.map(SyncSchedule, ({ keep }) => Singleton.make("SyncSchedule", keep)))
}
