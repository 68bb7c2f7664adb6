import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { assert, it } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Fiber, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import * as Postgres from "../src/database/Postgres.ts"

/** Passes connections on to a database. `silence` keeps those that are there open and lets nothing through any more. */
const proxyBefore = Effect.fnUntraced(function* (database: URL) {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(database.port), database.hostname)
    for (const [one, other] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      sockets.add(one)
      one.on("error", () => other.destroy()).on("close", () => other.destroy())
      one.pipe(other)
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const url = new URL(database)
  url.hostname = "127.0.0.1"
  url.port = String((server.address() as AddressInfo).port)
  const silence = Effect.sync(() => {
    for (const socket of sockets) socket.unpipe().resume()
  })
  return { url: Redacted.make(url.href), silence }
})

/** Lets a second pass in a twentieth of one, while the database answers in its own time. */
const inFastTime = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
  const second = Effect.andThen(TestClock.withLive(Effect.sleep("50 millis")), TestClock.adjust("1 second"))
  const clock = yield* Effect.forkChild(Effect.forever(second))
  return yield* Effect.ensuring(effect, Fiber.interrupt(clock))
})

it.effect("A question on a connection that stays open and silent is asked again on another one", () =>
  Effect.gen(function* () {
    const { url: real } = yield* TestDatabase
    const { url, silence } = yield* proxyBefore(new URL(Redacted.value(real)))
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* Effect.all([sql`SELECT pg_sleep(0.1)`, sql`SELECT pg_sleep(0.1)`], { concurrency: 2 })
      yield* silence
      const question = Postgres.answered(sql`SELECT 1 AS one`)
      assert.match(Postgres.sqlMessage(yield* inFastTime(Effect.flip(question))), /no answer in 10 seconds/)
      const asked = Effect.retry(question, Postgres.briefRetries)
      const answers = yield* inFastTime(Effect.all([asked, asked], { concurrency: 2 }))
      assert.deepStrictEqual(answers, [[{ one: 1 }], [{ one: 1 }]])
    }).pipe(Effect.provide(Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "medipim-test")))
  }).pipe(Effect.scoped, Effect.provide(TestDatabase.layer))
)
