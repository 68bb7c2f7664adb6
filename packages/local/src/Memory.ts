import { Effect } from "effect"

/** Runs the effect and gives its result with the most resident memory it took beyond what was there before, in MB. */
export const memoryOf = Effect.fnUntraced(function* <A, E, R>(work: Effect.Effect<A, E, R>) {
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  let most = before
  const sampling = Effect.sync(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }).pipe(Effect.andThen(Effect.sleep("5 millis")), Effect.forever)
  const result = yield* Effect.raceFirst(work, sampling)
  return { result, megabytes: (most - before) / 1024 / 1024 }
})
