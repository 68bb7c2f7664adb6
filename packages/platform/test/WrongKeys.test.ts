import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as WrongKeys from "../src/http/WrongKeys.ts"

describe("Refusals", () => {
  it.effect("are counted for each client by itself, missing and wrong keys apart", () =>
    Effect.gen(function* () {
      const { refused } = yield* WrongKeys.make
      yield* refused("a", "wrong")
      yield* refused("a", "missing")
      assert.deepInclude(yield* refused("a", "wrong"), { wrong: 2, missing: 1 })
      assert.deepInclude(yield* refused("b", "wrong"), { wrong: 1, missing: 0 })
    })
  )

  it.effect("are forgotten a minute after the first of them, however many follow", () =>
    Effect.gen(function* () {
      const { refused } = yield* WrongKeys.make
      assert.strictEqual((yield* refused("a", "wrong")).secondsLeft, 60)
      yield* TestClock.adjust("59500 millis")
      assert.deepInclude(yield* refused("a", "wrong"), { wrong: 2, secondsLeft: 1 })
      yield* TestClock.adjust("500 millis")
      assert.deepInclude(yield* refused("a", "wrong"), { wrong: 1, secondsLeft: 60 })
    })
  )

  it.effect("fill no memory, however many clients there are, and the busy one is remembered", () =>
    Effect.gen(function* () {
      const { refused, known } = yield* WrongKeys.make
      for (let i = 0; i < 25_000; i++) {
        yield* refused(`client ${i}`, "wrong")
        if (i % 1000 === 0) yield* refused("busy", "wrong")
      }
      assert.isAtMost(yield* known, 10_000)
      assert.strictEqual((yield* refused("busy", "wrong")).wrong, 26)
    })
  )
})
