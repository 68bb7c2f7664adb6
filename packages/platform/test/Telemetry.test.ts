import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Console, Effect, Layer } from "effect"
import * as Telemetry from "../src/process/Telemetry.ts"

/** A message and an error as a hostile source would have them: ESC, a line end, C1, a mark that turns text around. */
const hostile = 'refused\n{"level":"INFO","message":"forged"}\u001b[2J\u001b]0;x\u0007\u009b2J\u202e\u2028end'
const acts = /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]|\u001b(?!\[\d+(;\d+)*m)/

const logged = (environment: Record<string, string>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const out = Object.assign(Object.create(console) as Console.Console, {
      log: (...said: ReadonlyArray<unknown>) => lines.push(said.map(String).join(" ")),
      group: () => {},
      groupEnd: () => {}
    })
    yield* Effect.logError(hostile, new Error(hostile)).pipe(
      Effect.annotateLogs({ product: hostile }),
      Effect.provide(
        Telemetry.layer("test").pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)) as Layer.Layer<never>)
        )
      ),
      Effect.provideService(Console.Console, out)
    )
    return lines
  })

/** Somebody who takes what is sent by OTLP. */
const collector = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly bodies: Array<string>; readonly close: () => void }>((resume) => {
    const bodies: Array<string> = []
    const server = createServer(async (request, response) => {
      bodies.push(`${request.url} ${await text(request)}`)
      response.end("{}")
    })
    server.listen(0, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      resume(Effect.succeed({ url, bodies, close: () => server.close().closeAllConnections() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

describe("What is logged", () => {
  it.live("is one line of JSON an entry, whatever is in it", () =>
    Effect.gen(function* () {
      const lines = yield* logged({ LOG_FORMAT: "json" })
      assert.lengthOf(lines, 1)
      assert.notMatch(lines[0] ?? "", acts)
      assert.notInclude(lines[0], "\n")
      const { message, annotations } = JSON.parse(lines[0] ?? "") as Record<string, Record<string, string>>
      assert.strictEqual(message?.[0], hostile)
      assert.strictEqual(annotations?.product, hostile)
    })
  )

  it.live("stays so when it is sent by OTLP too", () =>
    Effect.gen(function* () {
      const { url, bodies } = yield* collector
      const lines = yield* logged({ LOG_FORMAT: "json", OTEL_EXPORTER_OTLP_ENDPOINT: url })
      for (const line of lines) assert.isObject(JSON.parse(line))
      assert.lengthOf(lines, 1)
      assert.isTrue(bodies.some((body) => body.startsWith("/v1/logs") && body.includes("forged")))
    }).pipe(Effect.scoped)
  )

  it.live("moves no cursor of a terminal, and no line of it looks like an entry", () =>
    Effect.gen(function* () {
      const lines = yield* logged({ LOG_FORMAT: "pretty" })
      const all = lines.join("\n")
      assert.notMatch(all, acts)
      assert.include(all, "refused")
      for (const line of all.split("\n")) assert.notMatch(line, /^\{/)
    })
  )
})
