import { Clock, Duration, Effect } from "effect"

/**
 * Milliseconds that count on whatever happens to the wall clock: for what lasts, not for when it was. A wall clock that is
 * set while something waits would end the waiting at once, or keep it going for days.
 */
export const elapsedMillis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/** Answers whether less than this time has passed since the stopwatch was made. */
export const stopwatch = (limit: Duration.Duration) =>
  Effect.map(elapsedMillis, (start) => Effect.map(elapsedMillis, (now) => now - start < Duration.toMillis(limit)))
