import { pendingAt, scheduleOf } from "@medipim/domain/Schedule"
import { DatabaseClock } from "@medipim/platform/database/DatabaseClock"
import { databaseFaults, orchestratorNeeds } from "@medipim/platform/database/DatabaseNeeds"
import { sqlMessage } from "@medipim/platform/database/Postgres"
import { Clock, DateTime, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Notifier } from "./Notifier.ts"
import { scheduleMark } from "./ScheduleMark.ts"

/** Between two looks. */
const checkInterval = Duration.minutes(1)
/** Longer than the outage timeout of a step, and than a takeover by another process. */
const grace = Duration.toMillis("4 minutes")

interface Overdue {
  readonly at: number
  readonly since: number
  readonly isTold: boolean
}

interface Config {
  readonly cron: Option.Option<string>
  readonly timezone: string
}

/** What keeps a sync from beginning, in words; `undefined` when the database is fit, or unavailable for the moment. */
const obstacle = Effect.map(databaseFaults(orchestratorNeeds), (faults) =>
  faults.length === 0 ? undefined : faults.join("; ")
)

/**
 * `look` notifies of a sync that is due, once for each: at once when the database says why it cannot begin, else when it
 * has been due for four minutes.
 */
export const make = Effect.fnUntraced(function* ({ cron, timezone }: Config) {
  const sql = yield* SqlClient
  const notifier = yield* Notifier
  const clock = yield* DatabaseClock
  const configured = Option.map(cron, (text) => scheduleOf(text, timezone))
  /** Without a database only the clock of this process is left. */
  const timeNow = Effect.catch(clock.now, () => Clock.currentTimeMillis)
  /** Known while the database cannot be asked. */
  let handledUntil = yield* timeNow
  let overdue: Overdue | undefined

  const inDatabase = Effect.provideService(SqlClient, sql)
  /** A mark in the future was set by a wrong clock and says nothing. */
  const refresh = (now: number) =>
    Effect.map(inDatabase(scheduleMark), (mark) => {
      if (mark !== undefined && mark.millis <= now) handledUntil = mark.millis
    })
  const isLate = (now: number, since: number): boolean => now - since >= grace
  /** Why the sync does not begin, once that is sure. */
  const reason = (late: boolean) =>
    inDatabase(obstacle).pipe(
      Effect.map((found) => found ?? (late ? "no orchestrator took it up; their logs have the reason." : undefined)),
      Effect.catch((error) => Effect.succeed(late ? sqlMessage(error) : undefined))
    )

  const look = Effect.gen(function* () {
    if (Option.isNone(configured)) return
    const now = yield* timeNow
    yield* Effect.ignore(refresh(now))
    const due = pendingAt(configured.value, handledUntil, now)
    if (due === undefined) {
      overdue = undefined
      return
    }
    if (overdue?.at !== due.at) overdue = { at: due.at, since: now, isTold: false }
    if (overdue.isTold) return
    const why = yield* reason(isLate(now, overdue.since))
    if (why === undefined) return
    const at = DateTime.formatIso(DateTime.makeUnsafe(due.at))
    yield* Effect.logError(`The sync due at ${at} does not begin: ${why}`)
    yield* notifier.notifySyncCannotStart(at, why)
    overdue = { ...overdue, isTold: true }
  }).pipe(Effect.ignore({ log: "Warn" }), Effect.withSpan("OverdueAlarm.look"))
  return { look }
})

/**
 * Notifies of a sync that is due and does not start. The schedule itself cannot: without a database that
 * accepts writes the workflow engine does not run. So each process looks for itself, every minute; `Idempotency-Key`
 * says that two of them mean the same sync.
 */
export const layer = (config: Config) =>
  Layer.effectDiscard(
    Effect.flatMap(make(config), ({ look }) => Effect.forkScoped(Effect.forever(Effect.delay(look, checkInterval))))
  )
