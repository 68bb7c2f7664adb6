import { assert, describe, it } from "@effect/vitest"
import { Clock, Data, Duration, Effect } from "effect"
import { retryOutageOf } from "../src/process/Outage.ts"

class Away extends Data.TaggedError("Away")<object> {}

const hour = 60 * 60 * 1000

describe("An outage", () => {
  for (const jump of [-48 * hour, hour]) {
    it.live(`is survived though the wall clock jumps by ${jump / hour} hours in it`, () =>
      Effect.gen(function* () {
        const real = yield* Clock.Clock
        let error = 0
        let tries = 0
        const clock: Clock.Clock = {
          ...real,
          currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe() + error,
          currentTimeMillis: Effect.sync(() => real.currentTimeMillisUnsafe() + error),
          sleep: () => Effect.yieldNow
        }
        const answer = Effect.suspend(() => {
          tries += 1
          error = tries === 1 ? 0 : jump
          return tries < 6 ? Effect.fail(new Away()) : Effect.succeed("back")
        })
        const survived = retryOutageOf(
          "the store",
          () => true,
          () => "away"
        )(answer)
        assert.strictEqual(yield* Effect.provideService(survived, Clock.Clock, clock), "back")
      })
    )
  }

  it.live("is given up after 150 seconds, however the wall clock was set back in it", () =>
    Effect.gen(function* () {
      const real = yield* Clock.Clock
      let elapsed = 0n
      let tries = 0
      const clock: Clock.Clock = {
        ...real,
        // It stands still.
        currentTimeMillisUnsafe: () => 0,
        currentTimeMillis: Effect.succeed(0),
        monotonicTimeNanosUnsafe: () => elapsed,
        monotonicTimeNanos: Effect.sync(() => elapsed),
        sleep: (duration) =>
          Effect.sync(() => {
            elapsed += BigInt(Math.round(Duration.toMillis(duration))) * 1_000_000n
          })
      }
      const away = Effect.suspend(() => {
        tries += 1
        return tries > 1000 ? Effect.succeed("never given up") : Effect.fail(new Away())
      })
      const survived = retryOutageOf(
        "the store",
        () => true,
        () => "away"
      )(away)
      const error = yield* Effect.flip(Effect.provideService(survived, Clock.Clock, clock))
      assert.strictEqual(error._tag, "Away")
      assert.isAtLeast(Number(elapsed / 1_000_000_000n), 145)
      assert.isAtMost(Number(elapsed / 1_000_000_000n), 165)
    })
  )
})
