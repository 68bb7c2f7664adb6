import { Cache, Clock, Duration, Effect } from "effect"

/** A person who mistypes, or a script with an old key that is asked to stop, stays below it. */
export const burst = 30
const window = Duration.minutes(1)
/** About 2 MB when it is full. A caller with more addresses than this evicts entries, and has a burst on each anyway. */
const mostClients = 10_000

/** How many refusals this client has had in the current window, and the time until the window resets. */
export interface Refusals {
  readonly missing: number
  readonly wrong: number
  readonly secondsLeft: number
}

/**
 * Counts refused requests of each client, per minute from the first one on. The cache of effect forgets clients after
 * that minute, and the longest unseen one when there are too many.
 */
export const make = Effect.gen(function* () {
  const clients = yield* Cache.make({
    capacity: mostClients,
    timeToLive: window,
    lookup: (_client: string) => Effect.map(Clock.currentTimeMillis, (since) => ({ since, missing: 0, wrong: 0 }))
  })
  const refused = Effect.fnUntraced(function* (client: string, reason: "missing" | "wrong") {
    const seen = yield* Cache.get(clients, client)
    seen[reason] += 1
    const left = seen.since + Duration.toMillis(window) - (yield* Clock.currentTimeMillis)
    const refusals: Refusals = {
      missing: seen.missing,
      wrong: seen.wrong,
      secondsLeft: Math.max(1, Math.ceil(left / 1000))
    }
    return refusals
  })
  return { refused, known: Cache.size(clients) }
})
