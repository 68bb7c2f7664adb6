import { assert, describe, it } from "@effect/vitest"
import { AdminKey } from "@medipim/http-api/AdminKey"
import { Context, Effect, Layer, Logger, Option, Redacted } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as AdminKeyGuard from "../src/http/AdminKeyGuard.ts"
import { AdminKeys } from "../src/http/AdminKeys.ts"
import { burst } from "../src/http/WrongKeys.ts"

const current = "current-key-of-at-least-32-characters"
const previous = "previous-key-of-at-least-32-characters"
const wrong = "wrong-key-that-must-not-be-in-any-log"

const guardedBy = (options: { readonly before?: string; readonly onFly?: boolean }) =>
  Effect.provide(
    AdminKeyGuard.layer({
      flyAppName: options.onFly ? Option.some("medipim-orchestrator") : Option.none()
    }).pipe(
      Layer.provide(
        AdminKeys.layer({
          adminKey: Redacted.make(current),
          previousAdminKey: Option.map(Option.fromUndefinedOr(options.before), Redacted.make)
        })
      )
    )
  )

/** What a request with this key from this peer is answered: `passed`, or the tag of the error. */
const answer = Effect.fnUntraced(function* (
  offered: string,
  from: { readonly peer?: string; readonly flyClientIp?: string } = {}
) {
  const guard = yield* AdminKey
  const guarded = guard.adminKey(Effect.succeed(HttpServerResponse.empty()), {
    credential: Redacted.make(offered),
    endpoint: { method: "POST", path: "/sync" },
    group: { identifier: "orchestrator" }
  } as unknown as Parameters<typeof guard.adminKey>[1])
  const request = HttpServerRequest.fromWeb(
    new Request("http://x/sync", from.flyClientIp ? { headers: { "fly-client-ip": from.flyClientIp } } : {})
  ).modify({ remoteAddress: Option.some(from.peer ?? "192.0.2.1") })
  // The guard looks at nothing but the request and its credential.
  const context = Context.make(HttpServerRequest.HttpServerRequest, request) as Context.Context<
    Effect.Services<typeof guarded>
  >
  return yield* guarded.pipe(
    Effect.as("passed"),
    Effect.catch((error) => Effect.succeed((error as { readonly _tag: string })._tag)),
    Effect.provideContext(context)
  )
})

const times = (n: number, from: Parameters<typeof answer>[1]) =>
  Effect.forEach(Array.from({ length: n }), () => answer(wrong, from))

describe("AdminKeyGuard", () => {
  it.effect("accepts the current key, and the previous one during a rotation", () =>
    Effect.gen(function* () {
      const [alone, both] = [guardedBy({}), guardedBy({ before: previous })]
      assert.strictEqual(yield* alone(answer(current)), "passed")
      assert.strictEqual(yield* alone(answer(previous)), "Unauthorized")
      assert.strictEqual(yield* both(answer(current)), "passed")
      assert.strictEqual(yield* both(answer(previous)), "passed")
    })
  )

  it.effect("refuses everything else, whatever its length", () =>
    Effect.gen(function* () {
      for (const offered of ["", "x", current.slice(1), `${current} `, current.toUpperCase(), "x".repeat(10_000)]) {
        assert.strictEqual(yield* answer(offered), "Unauthorized", offered.slice(0, 50))
      }
    }).pipe(guardedBy({ before: previous }))
  )

  it.effect("tells who sends many wrong keys to wait, and nobody else", () =>
    Effect.gen(function* () {
      const peer = "192.0.2.1"
      assert.deepStrictEqual(new Set(yield* times(burst, { peer })), new Set(["Unauthorized"]))
      assert.strictEqual(yield* answer(wrong, { peer }), "TooManyWrongKeys")
      assert.strictEqual(yield* answer(wrong, { peer: "192.0.2.2" }), "Unauthorized")
      assert.strictEqual(yield* answer(current, { peer: "192.0.2.2" }), "passed")
      // Behind one address there can be many people: the one with the key is never shut out by another.
      assert.strictEqual(yield* answer(current, { peer }), "passed")
      assert.strictEqual(yield* answer("", { peer }), "Unauthorized")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* answer(wrong, { peer }), "Unauthorized")
    }).pipe(guardedBy({}))
  )

  it.effect("does not count a missing key as a wrong one", () =>
    Effect.gen(function* () {
      for (let i = 0; i < burst * 3; i++) assert.strictEqual(yield* answer(""), "Unauthorized")
      assert.strictEqual(yield* answer(wrong), "Unauthorized")
    }).pipe(guardedBy({}))
  )

  it.effect("knows the clients of Fly's proxy apart, and takes nobody's word who does not come through it", () =>
    Effect.gen(function* () {
      const proxy = "::ffff:172.19.4.10"
      yield* times(burst + 1, { peer: proxy, flyClientIp: "203.0.113.9" })
      assert.strictEqual(yield* answer(wrong, { peer: proxy, flyClientIp: "203.0.113.9" }), "TooManyWrongKeys")
      assert.strictEqual(yield* answer(wrong, { peer: proxy, flyClientIp: "203.0.113.10" }), "Unauthorized")
      const neighbour = "fdaa:0:18:a7b:d6b:0:a:2"
      for (let i = 0; i < burst; i++) yield* answer(wrong, { peer: neighbour, flyClientIp: `203.0.113.${i}` })
      assert.strictEqual(yield* answer(wrong, { peer: neighbour, flyClientIp: "198.51.100.1" }), "TooManyWrongKeys")
    }).pipe(guardedBy({ onFly: true }))
  )

  it.effect("counts a whole IPv6 network as one client", () =>
    Effect.gen(function* () {
      for (let i = 0; i < burst; i++) yield* answer(wrong, { peer: `2001:db8:1:2::${i}` })
      assert.strictEqual(yield* answer(wrong, { peer: "2001:db8:1:2:aaaa::1" }), "TooManyWrongKeys")
      assert.strictEqual(yield* answer(wrong, { peer: "2001:db8:1:3::1" }), "Unauthorized")
    }).pipe(guardedBy({}))
  )

  it.effect("logs each refusal with the address and never the key, and stops before that is a flood", () => {
    const lines: Array<string> = []
    const logger = Logger.map(Logger.formatJson, (line) => lines.push(line))
    return Effect.gen(function* () {
      yield* answer("", { peer: "192.0.2.7" })
      yield* times(burst * 2, { peer: "192.0.2.7" })
      assert.strictEqual(lines.length, burst)
      assert.match(lines[0] ?? "", /Refused POST \/sync: missing admin key/)
      assert.match(lines[1] ?? "", /Refused POST \/sync: wrong admin key/)
      assert.match(lines.at(-1) ?? "", /more of them within 60 s are counted, not logged/)
      for (const line of lines) {
        assert.include(line, '"clientAddress":"192.0.2.7"')
        assert.notInclude(line, wrong)
      }
    }).pipe(guardedBy({}), Effect.provide(Logger.layer([logger])))
  })
})
