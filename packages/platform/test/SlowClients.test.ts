import { subscribe, unsubscribe } from "node:diagnostics_channel"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { dial } from "@medipim/testing/Dial"
import { Effect, Schedule } from "effect"
import * as NodeServer from "../src/http/NodeServer.ts"
import { ask, heardOf, inPeace, key, keyed, started } from "./TestServer.ts"

/** So short that a test need not wait for those of production. */
const short: NodeServer.Limits = { ...NodeServer.defaultLimits, head: 300, request: 600, check: 50 }

const eventsOf = `GET /events HTTP/1.1\r\nhost: x\r\nx-admin-key: ${key}\r\n\r\n`

const getRoot = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"

const listening = Effect.fnUntraced(function* (server: Server) {
  yield* Effect.callback<void>((resume) => {
    server.listen(0, () => resume(Effect.void))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close().closeAllConnections()))
})

/** A server that answers everything with this text. */
const answers = Effect.fnUntraced(function* (limits: NodeServer.Limits, text: string) {
  const guarded = NodeServer.make(limits)
  guarded.server.on("request", (_, response) => response.end(text))
  yield* listening(guarded.server)
  return guarded
})
const answering = (limits: NodeServer.Limits, text: string) =>
  Effect.map(answers(limits, text), ({ server }) => (server.address() as AddressInfo).port)

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
      for (const client of [silent, half, body]) yield* client.closed.pipe(Effect.timeout("20 seconds"))
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

  it.live("lets a caller in although as many as it can serve are connected and ask for nothing", () =>
    Effect.gen(function* () {
      const { port } = yield* started({ ...NodeServer.defaultLimits, connections: 20 })
      const idle = yield* Effect.replicateEffect(dial(port), 100)
      const { status } = yield* ask(port, "/healthz", keyed(key))
      assert.strictEqual(status, 200)
      // Those that were open longest made room.
      yield* (idle[0] as (typeof idle)[0]).closed.pipe(Effect.timeout("20 seconds"))
    }).pipe(inPeace)
  )

  it.live("cuts no work for a new connection: it turns the newcomer away", () =>
    Effect.gen(function* () {
      const { port } = yield* started({ ...NodeServer.defaultLimits, connections: 2 })
      const readers = yield* Effect.replicateEffect(dial(port, eventsOf), 2)
      yield* Effect.forEach(readers, heardOf)
      const third = yield* dial(port, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* third.closed.pipe(Effect.timeout("20 seconds"))
      assert.strictEqual(third.text(), "")
      readers[0]?.socket.destroy()
      yield* Effect.suspend(() => ask(port, "/healthz")).pipe(
        Effect.timeout("1 second"),
        Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 50 })
      )
      assert.match(readers[1]?.text() ?? "", /"n":1\}/)
    }).pipe(inPeace)
  )

  for (const method of ["GET", "HEAD", "POST"] as const) {
    for (const path of ["/healthz", "/docs", "/openapi.json", "/events", "/nowhere"] as const) {
      it.live(`cuts off who asks again with ${method} ${path} before the answer`, () =>
        Effect.gen(function* () {
          const { port } = yield* started()
          const once = `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`
          const client = yield* dial(port, once.repeat(200))
          yield* client.closed.pipe(Effect.timeout("20 seconds"))
          const answers = client.text().match(/HTTP\/1\.1 /g) ?? []
          assert.isAtMost(answers.length, 1)
        }).pipe(inPeace)
      )
    }
  }

  for (const [what, head] of [
    ["requests", ""],
    ["requests with an expectation that nobody knows", "expect: x\r\n"]
  ] as const) {
    it.live(`makes nothing of ${what} that came with the first one in one piece`, () =>
      Effect.gen(function* () {
        const { port } = yield* started()
        const made: Array<unknown> = []
        const count = (message: unknown) => made.push(message)
        subscribe("http.server.request.start", count)
        yield* Effect.addFinalizer(() => Effect.sync(() => unsubscribe("http.server.request.start", count)))
        const once = `GET /healthz HTTP/1.1\r\nhost: x\r\n${head}\r\n`
        const client = yield* dial(port, once.repeat(1000))
        yield* client.closed.pipe(Effect.timeout("20 seconds"))
        assert.lengthOf(made, 1)
      }).pipe(inPeace)
    )
  }

  it.live("answers an expectation that nobody knows with 417", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      assert.strictEqual((yield* ask(port, "/healthz", { headers: { expect: "x" } })).status, 417)
    }).pipe(inPeace)
  )

  it.live("lets a stranger who waits for an answer make room, and nobody who is at work", () =>
    Effect.gen(function* () {
      const working = new Set<string>()
      const guarded = NodeServer.make({ ...NodeServer.defaultLimits, connections: 3 }, ({ url }) => url === "/work")
      // Answers to nobody: all are under way.
      guarded.server.on("request", ({ url = "" }) => working.add(url))
      yield* listening(guarded.server)
      const { port } = guarded.server.address() as AddressInfo
      const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
      const atWork = yield* dial(port, get("/work"))
      const strangers = [yield* dial(port, get("/one")), yield* dial(port, get("/two"))]
      yield* Effect.sync(() => working.size).pipe(
        Effect.repeat({ until: (n) => n === 3, schedule: Schedule.spaced("10 millis") })
      )
      const next = yield* dial(port, get("/work-too"))
      yield* (strangers[0] ?? next).closed.pipe(Effect.timeout("20 seconds"))
      assert.isFalse(atWork.socket.destroyed || strangers[1]?.socket.destroyed || next.socket.destroyed)
    }).pipe(inPeace)
  )

  it.live("answers one request after the other on one connection", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      const client = yield* dial(port)
      for (let i = 1; i <= 20; i++) {
        client.socket.write("GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
        yield* Effect.sync(client.text).pipe(
          Effect.repeat({
            until: (text) => text.match(/HTTP\/1\.1 200/g)?.length === i && text.endsWith("}"),
            schedule: Schedule.spaced("2 millis")
          }),
          Effect.timeout("20 seconds")
        )
      }
    }).pipe(inPeace)
  )

  it.live("closes the connection of a client that does not read, not of one that reads slowly", () =>
    Effect.gen(function* () {
      const port = yield* answering({ ...NodeServer.defaultLimits, unread: 1000 }, "x".repeat(50_000_000))
      const [deaf, slow] = [yield* dial(port, getRoot), yield* dial(port, getRoot)]
      yield* heardOf(deaf)
      deaf.socket.pause()
      const turns = Effect.sync(() => (slow.socket.isPaused() ? slow.socket.resume() : slow.socket.pause()))
      yield* turns.pipe(Effect.repeat(Schedule.spaced("20 millis")), Effect.forkScoped)
      yield* Effect.sleep("4 seconds")
      deaf.socket.resume()
      yield* deaf.closed.pipe(Effect.timeout("20 seconds"))
      assert.isBelow(deaf.text().length, 50_000_000)
      yield* Effect.sync(slow.text).pipe(
        Effect.repeat({ until: (text) => text.length > 50_000_000, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("20 seconds")
      )
    }).pipe(inPeace)
  )

  it.live("accepts a new caller when every connection has an unread answer", () =>
    Effect.gen(function* () {
      const port = yield* answering({ ...NodeServer.defaultLimits, connections: 20 }, "x".repeat(50_000_000))
      for (let i = 0; i < 20; i++) {
        const deaf = yield* dial(port, getRoot)
        yield* heardOf(deaf)
        deaf.socket.pause()
      }
      const reader = yield* dial(port, getRoot)
      yield* heardOf(reader).pipe(Effect.timeout("20 seconds"))
      assert.match(reader.text(), /^HTTP\/1\.1 200 /)
    }).pipe(inPeace)
  )

  it.live("keeps a quiet answer open for longer than one may lie unread", () =>
    Effect.gen(function* () {
      const { server } = NodeServer.make({ ...short, unread: 1000 })
      server.on("request", (_, response) => {
        response.write("begins")
        setTimeout(() => response.end("ends"), 2500)
      })
      yield* listening(server)
      const reader = yield* dial((server.address() as AddressInfo).port, getRoot)
      yield* Effect.sync(reader.text).pipe(
        Effect.repeat({ until: (text) => text.includes("ends"), schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("20 seconds")
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
      yield* stop.pipe(Effect.timeout("20 seconds"))
      assert.match(reader.text(), /"n":40\}/)
    }).pipe(inPeace)
  )

  it.live("cuts off those who are still there when its patience ends, as one who never reads", () =>
    Effect.gen(function* () {
      const { server, drain } = yield* answers(NodeServer.defaultLimits, "x".repeat(10_000_000))
      const reader = yield* dial((server.address() as AddressInfo).port, getRoot)
      yield* heardOf(reader)
      reader.socket.pause()
      const stopped = Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        drain(300)
      })
      yield* stopped.pipe(Effect.timeout("20 seconds"))
    }).pipe(inPeace)
  )
})
