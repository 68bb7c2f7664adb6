import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { AdminKeys } from "../src/http/AdminKeys.ts"
import { makeReadyz, publicReason, readiness } from "../src/http/Readiness.ts"

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

const key = "the-right-key-of-more-than-32-characters"
const keys = AdminKeys.layer({ adminKey: Redacted.make(key), previousAdminKey: Option.none() })
const asks = (headers: Record<string, string> = {}) =>
  Effect.provideService(
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request("http://x/readyz", { headers }))
  )

describe("GET /readyz", () => {
  it.effect("asks the dependencies once a second at most, whoever goes away in the meantime", () =>
    Effect.gen(function* () {
      let checks = 0
      const answer = yield* Deferred.make<void>()
      const check = Effect.andThen(
        Effect.sync(() => {
          checks += 1
        }),
        Deferred.await(answer)
      )
      const readyz = (yield* makeReadyz([{ name: "store", check }])).pipe(asks())
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () =>
        Effect.forkChild(readyz, { startImmediately: true })
      )
      yield* Fiber.interrupt(fibers[0] ?? assert.fail("nobody asked"))
      yield* Deferred.succeed(answer, undefined)
      for (const fiber of fibers.slice(1)) assert.deepStrictEqual(yield* Fiber.join(fiber), { status: "ready" })
      yield* readyz
      assert.strictEqual(checks, 1)
      yield* TestClock.adjust("1 second")
      yield* readyz
      assert.strictEqual(checks, 2)
    }).pipe(Effect.provide(keys))
  )

  it.effect("tells the whole reason to those who have the key, and the kind of cause to others", () =>
    Effect.gen(function* () {
      const reason = "ConnectionError: connect ECONNREFUSED 10.1.2.3:5432"
      const readyz = yield* makeReadyz([fails("database", reason)])
      const told = (headers?: Record<string, string>) =>
        Effect.map(Effect.flip(asks(headers)(readyz)), ({ failing }) => failing[0]?.reason ?? "")
      assert.strictEqual(yield* told({ "x-admin-key": key }), reason)
      for (const headers of [{}, { "x-admin-key": "" }, { "x-admin-key": `${key}x` }]) {
        assert.match(yield* told(headers), /^ECONNREFUSED; with X-ADMIN-KEY/)
      }
    }).pipe(Effect.provide(keys))
  )

  it("names no host, port, path, role, table or bucket to strangers", () => {
    const reasons: Readonly<Record<string, string>> = {
      "getaddrinfo ENOTFOUND db.abcdefgh.supabase.co": "ENOTFOUND",
      "connect ETIMEDOUT 3.104.5.6:6543": "ETIMEDOUT",
      "Denied: the role medipim_app lacks INSERT on public.products": "Denied",
      "Missing: public.products.line_hash (was it renamed?)": "Missing",
      "ReadOnly: it takes no changes (default_transaction_read_only is on)": "ReadOnly",
      "put snapshots/probe: (denied): EACCES: permission denied, mkdir '/data/snapshots'": "denied, EACCES",
      "list of bucket medipim-raw failed (unavailable): 502 Bad Gateway from https://abc.supabase.co":
        "unavailable, 502",
      "something new about 10.0.0.7 at /home/app/secret": "it does not work"
    }
    for (const [reason, told] of Object.entries(reasons)) {
      assert.strictEqual(publicReason(reason), `${told}; with X-ADMIN-KEY this answer says more`)
    }
  })
})
