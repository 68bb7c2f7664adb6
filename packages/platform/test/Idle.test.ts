import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Idle from "../src/process/Idle.ts"

/** A process whose quiet time is told, and which notes that it was to end. */
const watched = Effect.gen(function* () {
  const state = { quiet: 0, ended: false }
  const scope = yield* Scope.make()
  const end = Effect.sync(() => {
    state.ended = true
  })
  yield* Layer.buildWithScope(
    Idle.layer(Duration.minutes(5), () => state.quiet, end),
    scope
  )
  return { state, close: Scope.close(scope, Exit.void) }
})

describe("A process without a request", () => {
  it.effect("ends after the time that it was given, and not before", () =>
    Effect.gen(function* () {
      const { state, close } = yield* watched
      state.quiet = 299_999
      yield* TestClock.adjust("1 hour")
      assert.isFalse(state.ended)
      state.quiet = 300_000
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(state.ended)
      yield* close
    })
  )

  it.effect("finishes a job that came in the moment in which it was to end", () =>
    Effect.gen(function* () {
      const { state, close } = yield* watched
      state.quiet = 300_000
      yield* TestClock.adjust("30 seconds")
      state.quiet = 0
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(closing.pollUnsafe())
      state.quiet = 1
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    })
  )

  it.effect("does not wait for its jobs when somebody else ends it", () =>
    Effect.gen(function* () {
      const { state, close } = yield* watched
      yield* close
      assert.isFalse(state.ended)
    })
  )
})
