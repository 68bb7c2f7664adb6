import { Duration, Effect, Layer, Schedule } from "effect"

/** Checks within the limit. */
const checks = 10
const terminate = Effect.sync(() => process.kill(process.pid, "SIGTERM"))

/**
 * Ends the process after this long without work, as SIGTERM does: with code 0. `quiet` gives the milliseconds since the last
 * request ended. A job lives in its request (docs/decisions/0003), so a working process is never idle. A job that arrives
 * while the process decides to end is waited for. One that arrives later, before the server has stopped listening, has the
 * 20 s of every running request; its caller then retries.
 */
export const layer = (idleFor: Duration.Duration, quiet: () => number, end: Effect.Effect<unknown> = terminate) => {
  const limit = Duration.toMillis(idleFor)
  return Layer.effectDiscard(
    Effect.gen(function* () {
      let isEnding = false
      const look = Effect.suspend(() => {
        if (quiet() < limit) return Effect.void
        isEnding = true
        const reason = `Nothing to do for ${Duration.format(idleFor)} (IDLE_SHUTDOWN): ending`
        return Effect.logInfo(reason).pipe(Effect.andThen(end), Effect.andThen(Effect.never))
      })
      // What is built before it, the server for one, ends after it.
      yield* Effect.addFinalizer(() =>
        Effect.sync(quiet).pipe(
          Effect.repeat({ until: (millis) => !isEnding || millis > 0, schedule: Schedule.spaced("100 millis") })
        )
      )
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(Duration.millis(limit / checks)), look)))
    })
  )
}
