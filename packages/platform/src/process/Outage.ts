import type { Wait } from "@medipim/domain/Run"
import { Context, DateTime, Duration, Effect, Schedule } from "effect"
import { stopwatch } from "./Stopwatch.ts"

/** What this process is waiting for now, for `GET /status`. */
export class Waits extends Context.Reference<Map<symbol, Wait>>("platform/Waits", {
  defaultValue: () => new Map()
}) {}

/** The outages that this process is waiting out now; empty when there is none. */
export const currentWaits = Effect.map(Waits, (waits): ReadonlyArray<Wait> => [...waits.values()])

/**
 * The one policy for outages of the store, the database, the source or a service. Work
 * that meets one is retried for this long, next to the call that failed, before it fails.
 */
export const outageTimeout = Duration.seconds(150)

const pauses = Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("5 seconds")]).pipe(Schedule.jittered)

/** Notes what is waited for while this effect runs; an earlier note of the same wait keeps its beginning. */
const note = (key: symbol, what: string, reason: string) =>
  Effect.gen(function* () {
    const waits = yield* Waits
    const before = waits.get(key)
    waits.set(key, { what, since: before?.since ?? DateTime.formatIso(yield* DateTime.now), reason })
    if (before === undefined) {
      const limit = Duration.format(outageTimeout)
      yield* Effect.logWarning(`Waiting for ${what} for up to ${limit}: ${reason}`)
    }
  })

const forget = (key: symbol) =>
  Effect.gen(function* () {
    const waits = yield* Waits
    const wait = waits.get(key)
    waits.delete(key)
    if (wait !== undefined) yield* Effect.logInfo(`No longer waiting for ${wait.what} (since ${wait.since})`)
  })

/** Retries, with these pauses, for as long as an outage may last. */
export const retryOutage =
  <E>(isPassing: (error: E) => boolean, pauses: Schedule.Schedule<unknown>) =>
  <A, E2 extends E, R>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E2, R> =>
    Effect.flatMap(stopwatch(outageTimeout), (hasTime) =>
      Effect.retry(effect, {
        while: (error: E2) => (isPassing(error) ? hasTime : Effect.succeed(false)),
        schedule: pauses
      })
    )

/** The same, and shows meanwhile what is waited for. */
export const retryOutageOf =
  <E>(what: string, isPassing: (error: E) => boolean, reasonOf: (error: E) => string) =>
  <A, E2 extends E, R>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E2, R> =>
    Effect.suspend(() => {
      const key = Symbol(what)
      return effect.pipe(
        Effect.tapError((error) => (isPassing(error) ? note(key, what, reasonOf(error)) : Effect.void)),
        retryOutage(isPassing, pauses),
        Effect.ensuring(forget(key))
      )
    })

/** Shows what is waited for while this effect runs, as long as `look` finds something; it does not end by itself. */
export const watch = <E, R>(
  what: string,
  look: Effect.Effect<string | undefined, E, R>,
  every: Duration.Input
): Effect.Effect<never, E, R> =>
  Effect.suspend(() => {
    const key = Symbol(what)
    return look.pipe(
      Effect.flatMap((reason) => (reason === undefined ? forget(key) : note(key, what, reason))),
      Effect.andThen(Effect.sleep(every)),
      Effect.forever,
      Effect.ensuring(forget(key))
    )
  })
