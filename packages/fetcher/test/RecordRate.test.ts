import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { withLeastRate } from "../src/RecordRate.ts"

const rate = { minRecordRate: 10, recordRateWindow: Duration.seconds(60) }

/** Whether a source that brings so many records a second fails within ten windows. */
const fails = (recordsPerSecond: number, isHeldUp: () => boolean) =>
  Effect.gen(function* () {
    let records = 0
    const source = Stream.never.pipe(
      withLeastRate(rate, () => records, isHeldUp),
      Stream.runDrain
    )
    const fiber = yield* Effect.forkChild(Effect.exit(source), { startImmediately: true })
    for (let second = 0; second < 600; second++) {
      records += recordsPerSecond
      yield* TestClock.adjust("1 second")
    }
    const exit = fiber.pollUnsafe()
    yield* Fiber.interrupt(fiber)
    return exit !== undefined && Exit.isSuccess(exit) && Exit.isFailure(exit.value)
  })

describe("The least rate of records", () => {
  it.effect("fails a source that brings fewer over a window, and no other", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* fails(9, () => false))
      assert.isFalse(yield* fails(11, () => false))
    })
  )
  it.effect("does not count the time in which the store takes nothing", () =>
    Effect.gen(function* () {
      assert.isFalse(yield* fails(0, () => true))
      let look = 0
      assert.isTrue(yield* fails(0, () => look++ % 2 === 0), "the time between counts")
    })
  )
})
