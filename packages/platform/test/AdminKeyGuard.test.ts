import { assert, describe, it } from "@effect/vitest"
import { AdminKey } from "@medipim/http-api/AdminKey"
import { Context, Effect, Exit, Option, Redacted } from "effect"
import { HttpServerResponse } from "effect/http"
import * as AdminKeyGuard from "../src/AdminKeyGuard.ts"

const current = "current-key-of-at-least-32-characters"
const previous = "previous-key-of-at-least-32-characters"

const passes = (offered: string, before: Option.Option<string>) =>
  Effect.gen(function* () {
    const guard = yield* AdminKey
    const guarded = guard.adminKey(Effect.succeed(HttpServerResponse.empty()), {
      credential: Redacted.make(offered)
    } as Parameters<typeof guard.adminKey>[1])
    // The guard looks at nothing of the request but its credential.
    const request = Context.empty() as Context.Context<Effect.Services<typeof guarded>>
    return Exit.isSuccess(yield* Effect.exit(Effect.provideContext(guarded, request)))
  }).pipe(
    Effect.provide(
      AdminKeyGuard.layer({ adminKey: Redacted.make(current), previousAdminKey: Option.map(before, Redacted.make) })
    )
  )

describe("AdminKeyGuard", () => {
  it.effect("accepts the current key, and the previous one during a rotation", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* passes(current, Option.none()))
      assert.isFalse(yield* passes(previous, Option.none()))
      assert.isTrue(yield* passes(current, Option.some(previous)))
      assert.isTrue(yield* passes(previous, Option.some(previous)))
    })
  )

  it.effect("refuses everything else, whatever its length", () =>
    Effect.gen(function* () {
      for (const offered of ["", "x", current.slice(1), `${current} `, current.toUpperCase(), "x".repeat(10_000)]) {
        assert.isFalse(yield* passes(offered, Option.some(previous)), offered.slice(0, 50))
      }
    })
  )
})
