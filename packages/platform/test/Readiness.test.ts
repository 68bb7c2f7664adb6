import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { readiness } from "../src/Readiness.ts"

const works = { name: "store", check: Effect.void }
const fails = (name: string, message: string) => ({ name, check: Effect.fail({ message }) })

describe("readiness", () => {
  it.effect("is given when every dependency answers", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* readiness([works, { ...works, name: "database" }]), { status: "ready" })
    })
  )

  it.effect("names every dependency that fails, and why", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(readiness([fails("database", "refused"), works, fails("bucket", "denied")]))
      assert.deepStrictEqual(error.failing, [
        { dependency: "database", reason: "refused" },
        { dependency: "bucket", reason: "denied" }
      ])
    })
  )

  it.effect("does not wait for one that never answers", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.flip(readiness([works, { name: "database", check: Effect.never }])))
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).failing.map(({ dependency }) => dependency),
        ["database"]
      )
    })
  )
})
