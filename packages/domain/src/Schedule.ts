import { Cron, DateTime, Option, Result, Schema } from "effect"

/**
 * When syncs start by themselves: a cron in the local time of a place. All instants here are milliseconds since 1970.
 *
 * A time of day comes once on every local day. Where it does not exist because clocks go forward, it comes as much later
 * as they jump (02:00 becomes 03:00 in Sydney on the first Sunday of October); where it comes twice because they go back,
 * the first one counts. A cron for every hour, or every few (`*` or `*` with a step), follows real hours instead.
 */
export interface Schedule {
  readonly text: string
  readonly timezone: string
  readonly cron: Cron.Cron
}

const parse = (text: string, timezone: string) => {
  const everyHour = text.split(/\s+/)[1]?.startsWith("*") === true
  return Cron.parse(text, timezone, { onDstOverlap: everyHour ? "both" : "earlier" })
}

/** False for 31 February, which parses. */
const everComes = (cron: Cron.Cron): boolean => {
  try {
    Cron.next(cron, 0)
    return true
  } catch {
    return false
  }
}

/** The five fields minute, hour, day, month and weekday, which some moment matches. */
export const CronText = Schema.String.check(
  Schema.makeFilter((text) => {
    const cron = text.split(/\s+/).length === 5 ? parse(text, "UTC") : Result.fail(undefined)
    return Result.isSuccess(cron) && everComes(cron.success)
  })
)

/** A name of the IANA time zone database, such as `Australia/Sydney`. */
export const TimezoneName = Schema.String.check(
  Schema.makeFilter((name) => Option.isSome(DateTime.zoneMakeNamed(name)))
)

/** The schedule of a `CronText` in a `TimezoneName`; throws for other texts. */
export const scheduleOf = (text: string, timezone: string): Schedule => ({
  text,
  timezone,
  cron: Result.getOrThrow(parse(text, timezone))
})

/** The newest occurrence that is not after this moment. */
const lastUntil = ({ cron }: Schedule, now: number): number => Cron.prev(cron, now + 1).getTime()

/**
 * The first occurrence after this moment. Asked from the occurrence before it: `Cron.next` from within the hour after a
 * clock change would not see the one that the change has moved there.
 */
export const nextAfter = (schedule: Schedule, now: number): number =>
  Cron.next(schedule.cron, lastUntil(schedule, now)).getTime()

const dayOf = ({ timezone }: Schedule, at: number): string =>
  DateTime.formatIsoDate(DateTime.makeZonedUnsafe(at, { timeZone: timezone }))

/**
 * A missed occurrence is caught up within these hours in any case: half a day, the time in which the missed night is
 * nearer than the coming one. An evening's sync is thus not lost to a restart at midnight.
 */
export const madeUpForMillis = 12 * 60 * 60 * 1000

/** An occurrence whose sync was not started yet. */
export interface Pending {
  readonly at: number
  /** False when it is so late that the next one is waited for. */
  readonly inTime: boolean
}

/**
 * The occurrence to act on now, when all until `handledUntil` were acted on or are not wanted. Of several that were missed it
 * is the newest: one sync makes up for all. It is in time until the local day of the next one begins, so that a
 * sync of the early morning never starts twice on a day, and for `madeUpForMillis`.
 */
export const pendingAt = (schedule: Schedule, handledUntil: number, now: number): Pending | undefined => {
  const at = lastUntil(schedule, now)
  if (at <= handledUntil) return undefined
  const inTime =
    now - at <= madeUpForMillis || dayOf(schedule, now) < dayOf(schedule, Cron.next(schedule.cron, at).getTime())
  return { at, inTime }
}
