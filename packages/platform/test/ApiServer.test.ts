import { gunzipSync } from "node:zlib"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { AdminKey } from "@medipim/http-api/AdminKey"
import { Effect, Option } from "effect"
import { HttpClientRequest } from "effect/http"
import { HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import * as NodeServer from "../src/http/NodeServer.ts"
import { burst } from "../src/http/WrongKeys.ts"
import { type Answer, ask, askBytes, inPeace, key, keyed, started, TestApi, wrong } from "./TestServer.ts"

const wrongKeyOnRequests = HttpApiMiddleware.layerClient(AdminKey, ({ next, request }) =>
  next(HttpClientRequest.setHeader(request, "x-admin-key", wrong))
)

describe("The server of an API", () => {
  it.live("puts the security headers on every answer, whatever it is", () =>
    Effect.gen(function* () {
      const { port, metricsPort } = yield* started()
      const json = { "content-type": "application/json", "x-admin-key": key }
      const answers: Record<string, Answer> = {
        200: yield* ask(port, "/healthz"),
        401: yield* ask(port, "/events"),
        404: yield* ask(port, "/nowhere"),
        400: yield* ask(port, "/echo", { method: "POST", body: "{", headers: json }),
        500: yield* ask(port, "/broken", keyed(key)),
        stream: yield* ask(port, "/events", keyed(key)),
        openapi: yield* ask(port, "/openapi.json"),
        docs: yield* ask(port, "/docs"),
        "docs, as the router takes it": yield* ask(port, "//DOCS/"),
        metrics: yield* ask(metricsPort, "/metrics")
      }
      for (const [name, { status, headers }] of Object.entries(answers)) {
        assert.strictEqual(status, Number(name) || 200)
        assert.strictEqual(headers["x-content-type-options"], "nosniff", name)
        assert.strictEqual(headers["x-frame-options"], "DENY", name)
        assert.strictEqual(headers["referrer-policy"], "no-referrer", name)
        const isDocument = name.startsWith("docs") || name === "openapi"
        assert.strictEqual(headers["cache-control"], isDocument ? "no-cache" : "no-store", name)
        assert.match(String(headers["content-security-policy"]), /default-src 'none'.*frame-ancestors 'none'/, name)
        assert.isUndefined(headers["strict-transport-security"], name)
        const scripts = /script-src/.test(String(headers["content-security-policy"]))
        assert.strictEqual(scripts, name.startsWith("docs"), `${name} may run scripts: ${scripts}`)
      }
    }).pipe(inPeace)
  )

  it.live("answers every error as JSON that says what it is", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      const post = (type: string, body?: string) => ({
        method: "POST",
        headers: { "x-admin-key": key, "content-type": type },
        ...(body === undefined ? {} : { body })
      })
      const answers: ReadonlyArray<readonly [status: number, tag: string, answer: Answer]> = [
        [404, "NotFound", yield* ask(port, "/nowhere")],
        [404, "NotFound", yield* ask(port, "/healthz", { method: "POST" })],
        [404, "NotFound", yield* ask(port, "/events/%00")],
        [404, "NotFound", yield* ask(port, "/%ff%fe")],
        [
          400,
          "InvalidRequest",
          yield* ask(port, "/echo?text=a&text=b&dryRun=true", post("application/json", '{"text":"a"}'))
        ],
        [415, "UnsupportedMediaType", yield* ask(port, "/echo", post("text/plain", "text=a"))],
        [400, "InvalidRequest", yield* ask(port, "/echo", post("application/json", "{"))],
        [500, "InternalServerError", yield* ask(port, "/broken", keyed(key))]
      ]
      for (const [status, tag, answer] of answers) {
        assert.strictEqual(answer.status, status, answer.body)
        assert.match(String(answer.headers["content-type"]), /^application\/json/)
        assert.strictEqual(answer.headers["x-content-type-options"], "nosniff")
        assert.deepInclude(JSON.parse(answer.body), { _tag: tag })
        assert.isNotEmpty(JSON.parse(answer.body).message)
      }
      assert.deepInclude(JSON.parse(answers[4]?.[2].body ?? ""), {
        message: "Invalid request: options belong in the JSON body, not in the address: text, dryRun"
      })
      assert.strictEqual((yield* ask(port, "/echo?", post("application/json", '{"text":"a"}'))).status, 200)
    }).pipe(inPeace)
  )

  it.live("sends its documents compressed to those who take that, and not to those who have them", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      for (const path of ["/docs", "/openapi.json"]) {
        const plain = yield* ask(port, path)
        assert.isUndefined(plain.headers["content-encoding"])
        const etag = String(plain.headers.etag)
        assert.match(etag, /^W\/"[\w-]{43}"$/)
        for (const accepted of ["gzip", "br, GZIP;q=0.5", "deflate , gzip ; q=1.0"]) {
          const zipped = yield* askBytes(port, path, { "accept-encoding": accepted })
          assert.strictEqual(zipped.headers["content-encoding"], "gzip", accepted)
          assert.strictEqual(gunzipSync(zipped.bytes).toString(), plain.body)
          assert.isBelow(zipped.bytes.length, plain.body.length / 2)
        }
        for (const accepted of ["", "identity", "gzip;q=0", "x-gzipped, gzip; q=0.00"]) {
          const same = yield* ask(port, path, { headers: { "accept-encoding": accepted } })
          assert.deepStrictEqual([same.headers["content-encoding"], same.body], [undefined, plain.body], accepted)
        }
        for (const held of [etag, etag.slice(2), `"other", ${etag}`, "*"]) {
          const none = yield* ask(port, path, { headers: { "if-none-match": held } })
          assert.deepStrictEqual([none.status, none.body, none.headers.etag], [304, "", etag], held)
        }
        assert.strictEqual((yield* ask(port, path, { headers: { "if-none-match": '"other"' } })).status, 200)
      }
    }).pipe(inPeace)
  )

  it.live("asks browsers to stay with TLS when they came by it", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      const { headers } = yield* ask(port, "/healthz", { headers: { "x-forwarded-proto": "https" } })
      assert.strictEqual(headers["strict-transport-security"], "max-age=31536000")
    }).pipe(inPeace)
  )

  it.live("serves documents that need nothing which their policy forbids", () =>
    Effect.gen(function* () {
      const { port } = yield* started()
      const { body } = yield* ask(port, "/docs")
      const page = body.replace(/(<script>)[\s\S]*?(<\/script>)/g, "$1$2")
      assert.strictEqual(page.match(/<script>/g)?.length, 2)
      assert.notMatch(page, /<(?:script|link|img|iframe|base|form)\b[^>]+(?:src|href|action)=/)
    }).pipe(inPeace)
  )

  it.live(
    "answers 429 with Retry-After to a burst of wrong keys from one address, whatever headers come with them",
    () =>
      Effect.gen(function* () {
        const { port, metricsPort } = yield* started(NodeServer.defaultLimits, Option.some("medipim-test"))
        for (let i = 0; i < burst; i++) {
          const headers = {
            "x-admin-key": wrong,
            "fly-client-ip": `203.0.113.${i}`,
            "x-forwarded-for": `203.0.113.${i}`
          }
          assert.strictEqual((yield* ask(port, "/events", { headers })).status, 401)
        }
        const refused = yield* ask(port, "/events", {
          headers: { "x-admin-key": wrong, "fly-client-ip": "198.51.100.1" }
        })
        assert.strictEqual(refused.status, 429)
        const body = JSON.parse(refused.body) as Record<string, unknown>
        assert.strictEqual(body._tag, "TooManyWrongKeys")
        assert.strictEqual(refused.headers["retry-after"], String(body.retryAfterSeconds))
        assert.isTrue(Number(body.retryAfterSeconds) > 50 && Number(body.retryAfterSeconds) <= 60)
        assert.match(String(body.message), /127\.0\.0\.1 has sent too many/)
        assert.notInclude(refused.body, wrong)

        // The typed clients know it too.
        const error = yield* HttpApiClient.make(TestApi, { baseUrl: `http://127.0.0.1:${port}` }).pipe(
          Effect.flatMap((client) => Effect.flip(client.broken())),
          Effect.provide([NodeHttpClient.layerUndici, wrongKeyOnRequests])
        )
        assert.deepInclude(error as object, { _tag: "TooManyWrongKeys", message: body.message })

        const echo = { method: "POST", body: '{"text":"hello"}' }
        const headers = { "content-type": "application/json", "x-admin-key": key }
        assert.strictEqual((yield* ask(port, "/echo", { ...echo, headers, host: "::1" })).status, 200)
        assert.strictEqual((yield* ask(port, "/echo", { ...echo, headers })).status, 200)
        assert.strictEqual((yield* ask(port, "/events", { host: "::1", ...keyed(wrong) })).status, 401)
        assert.strictEqual((yield* ask(port, "/events")).status, 401)
        assert.strictEqual((yield* ask(port, "/healthz")).status, 200)

        const { body: metrics } = yield* ask(metricsPort, "/metrics")
        for (const reason of ["limited", "wrong", "missing"]) {
          assert.match(metrics, new RegExp(`^medipim_authentication_failures\\{reason="${reason}"\\} [1-9]`, "m"))
        }
      }).pipe(inPeace)
  )
})
