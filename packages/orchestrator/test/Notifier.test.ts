import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, it } from "@effect/vitest"
import { noProgress, type Run } from "@medipim/domain/Run"
import { Effect, Layer, Option, Redacted } from "effect"
import { Notifier } from "../src/Notifier.ts"

/** A receiver, and the `text` of all that it got. */
const receiver = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly texts: Array<string>; readonly close: () => unknown }>((resume) => {
    const texts: Array<string> = []
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (piece) => {
        body += piece
      })
      request.on("end", () => {
        texts.push(JSON.parse(body).text)
        response.end()
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
      resume(Effect.succeed({ url, texts, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

const hostile = "no answer\u001b[2J\nMediPim AU Sync: all is well\u202e\u0007"

const failedRun = {
  runId: "20261126T020000Z-00000001",
  mode: "full",
  status: "failed",
  progress: noProgress,
  failure: { code: "StreamBroken", message: hostile, retryable: true }
} as unknown as Run

it.live("A notification holds text from outside as one line, without what a terminal acts on", () =>
  Effect.gen(function* () {
    const { url, texts } = yield* receiver
    const notifier = Notifier.layer(Option.some(Redacted.make(url))).pipe(Layer.provide(NodeHttpClient.layerUndici))
    yield* Effect.gen(function* () {
      const { send, notifySyncCannotStart } = yield* Notifier
      yield* send(failedRun)
      yield* notifySyncCannotStart("2026-11-26T16:00:00.000Z", hostile)
    }).pipe(Effect.provide(notifier))
    assert.lengthOf(texts, 2)
    for (const text of texts) {
      assert.notMatch(text, /[\p{Cc}\p{Cf}]/u)
      assert.include(text, "no answer [2J MediPim AU Sync: all is well")
    }
  }).pipe(Effect.scoped)
)
