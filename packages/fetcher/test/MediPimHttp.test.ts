import { setTimeout as sleep } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { allStatuses, byCreation, MediPim } from "@medipim/domain/MediPim"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as MediPimHttp from "../src/MediPimHttp.ts"

/** A MediPim that gives these answers, one a request; the last one for ever. */
const answering = (...answers: ReadonlyArray<Response>) => {
  const asked: Array<Record<string, string | undefined>> = []
  const client = HttpClient.make((request) =>
    Effect.sync(() => {
      const answer = answers[Math.min(asked.length, answers.length - 1)] as Response
      asked.push({ ...request.headers })
      return HttpClientResponse.fromWeb(request, answer.clone())
    })
  )
  const layer = MediPimHttp.layer({
    url: "https://medipim.example/v4/products/stream",
    keyId: "7",
    keySecret: Redacted.make("open sesame"),
    requestTimeout: 60_000,
    userAgent: "test"
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
  return { asked, layer }
}

const open = Effect.flatMap(MediPim, (medipim) => medipim.open({ filter: allStatuses, sorting: byCreation }))
const busy = (retryAfter: string) => new Response("{}", { status: 429, headers: { "retry-after": retryAfter } })
const good = new Response("line\n", { status: 200 })

/** So many seconds of the test's clock, each with a moment of real time for what is not of this clock. */
const pass = Effect.fnUntraced(function* (seconds: number) {
  for (let second = 0; second < seconds; second++) {
    yield* Effect.promise(() => sleep(2))
    yield* TestClock.adjust("1 second")
  }
  yield* Effect.promise(() => sleep(5))
})

describe("MediPimHttp", () => {
  it.effect("sends the key as Basic auth", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering(good)
      yield* Effect.provide(open, layer)
      assert.strictEqual(asked[0]?.authorization, `Basic ${btoa("7:open sesame")}`)
    })
  )

  it.effect("waits for a Retry-After of a day no longer than two minutes", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering(busy("86400"), good)
      const fiber = yield* Effect.forkChild(Effect.provide(open, layer))
      yield* pass(119)
      assert.strictEqual(asked.length, 1)
      yield* pass(5)
      assert.strictEqual(asked.length, 2)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Some")
    })
  )

  it.effect("waits two minutes for a source that is away, then gives up and says what the last answer was", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({ error: { status: 503, code: "maintenance", message: "back\nsoon" } })
      const { asked, layer } = answering(new Response(body, { status: 503 }))
      const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(open, layer)))
      yield* pass(120)
      const before = asked.length
      yield* pass(10)
      assert.isAbove(asked.length, before)
      yield* pass(120)
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { status: 503, code: "maintenance", detail: "back soon", retryable: true })
    })
  )

  it.effect("takes 204 for no stream", () =>
    Effect.gen(function* () {
      const { layer } = answering(new Response(null, { status: 204 }))
      assert.strictEqual((yield* Effect.provide(open, layer))._tag, "None")
    })
  )
})
