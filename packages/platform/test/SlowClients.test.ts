import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as NodeServer from "../src/NodeServer.ts"
import { ask, dial, heardOf, inPeace, key, keyed, started } from "./TestServer.ts"

/** So short that a test need not wait for those of production. */
const short: NodeServer.Limits = { ...NodeServer.standard, head: 300, request: 600, check: 50 }

const eventsOf = `GET /events HTTP/1.1\r\nhost: x\r\nx-admin-key: ${key}\r\n\r\n`

describe("Clients that are slow, silent or greedy", () => {
  it.live("lets nobody hold a connection by sending slowly, or nothing", () =>
    Effect.gen(function* () {
      const { port } = yield* started(short)
      const silent = yield* dial(port)
      const half = yield* dial(port, "GET /healthz HTTP/1.1\r\nhost: x\r\n")
      const body = yield* dial(
        port,
        `POST /echo HTTP/1.1\r\nhost: x\r\nx-admin-key: ${key}\r\ncontent-length: 9\r\n\r\n{`
      )
      const drip = Effect.sync(() => {
        half.socket.write("x-slow: 1\r\n")
        body.socket.write(" ")
      })
      yield* drip.pipe(Effect.repeat(Schedule.spaced("100 millis")), Effect.forkScoped)
      for (const client of [silent, half, body]) yield* client.closed.pipe(Effect.timeout("5 seconds"))
      assert.match(half.text(), /^HTTP\/1\.1 408 /)
      assert.strictEqual((yield* ask(port, "/healthz")).status, 200)
    }).pipe(inPeace)
  )

  it.live("does not cut an answer that lasts longer than any request may", () =>
    Effect.gen(function* () {
      const { port } = yield* started(short)
      const { status, body } = yield* ask(port, "/events", keyed(key))
      assert.strictEqual(status, 200)
      assert.strictEqual(body.trim().split("\n").length, 40)
    }).pipe(inPeace)
  )

  it.live("refuses long addresses and large headers, also spread over many", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      assert.strictEqual((yield* ask(port, `/healthz?${"x".repeat(9000)}`)).status, 431)
      assert.strictEqual((yield* ask(port, "/healthz", { headers: { "x-large": "x".repeat(9000) } })).status, 431)
      const many = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`x-${i}`, "x".repeat(100)]))
      assert.strictEqual((yield* ask(port, "/healthz", { headers: many })).status, 431)
    }).pipe(inPeace)
  )

  it.live("turns callers away when as many as it can serve are connected", () =>
    Effect.gen(function* () {
      const { port } = yield* started({ ...NodeServer.standard, connections: 2 })
      yield* dial(port)
      const second = yield* dial(port)
      const third = yield* dial(port)
      yield* third.closed.pipe(Effect.timeout("5 seconds"))
      second.socket.destroy()
      yield* Effect.suspend(() => ask(port, "/healthz")).pipe(
        Effect.timeout("1 second"),
        Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 50 })
      )
    }).pipe(inPeace)
  )

  it.live("stops although clients keep connections without a request, and finishes what is under way", () =>
    Effect.gen(function* () {
      const { port, metricsPort, stop } = yield* started()
      yield* dial(port)
      yield* dial(port, "GET /healthz HTTP/1.1\r\nhost: x\r\n")
      const kept = yield* dial(port, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* dial(metricsPort, "GET /metrics HTTP/1.1\r\n")
      const reader = yield* dial(port, eventsOf)
      yield* heardOf(kept)
      yield* heardOf(reader)
      yield* stop.pipe(Effect.timeout("10 seconds"))
      assert.match(reader.text(), /"n":40\}/)
    }).pipe(inPeace)
  )

  it.live("cuts off those who are still there when its patience ends, as one who never reads", () =>
    Effect.gen(function* () {
      const { server, drain } = NodeServer.make()
      server.on("request", (_, response) => {
        response.writeHead(200)
        response.write("x".repeat(10_000_000))
      })
      yield* Effect.callback<void>((resume) => {
        server.listen(0, () => resume(Effect.void))
      })
      const reader = yield* dial((server.address() as AddressInfo).port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* heardOf(reader)
      reader.socket.pause()
      const stopped = Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        drain(300)
      })
      yield* stopped.pipe(Effect.timeout("5 seconds"))
    }).pipe(inPeace)
  )
})
