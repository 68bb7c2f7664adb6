import { assert, layer } from "@effect/vitest"
import { SyncOptions } from "@medipim/domain/SyncOptions"
import { createClient } from "@medipim/http-api/Client"
import { dial } from "@medipim/testing/Dial"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { medipim } from "./Medipim.ts"
import { adminKey, TestStack } from "./TestStack.ts"

const services = ["FETCHER_URL", "MAINTAINER_URL", "ORCHESTRATOR_URL"] as const
const open = new Set(["GET /healthz", "GET /readyz"])

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

const request = (url: string, method: string, key?: string, body?: string, headers: Record<string, string> = {}) =>
  Effect.promise(async (): Promise<Answer> => {
    const answer = await fetch(url, {
      method,
      headers: { ...headers, ...(key === undefined ? {} : { "x-admin-key": key }) },
      ...(body === undefined ? {} : { body })
    })
    const text = await answer.text()
    return { status: answer.status, body: text.startsWith("{") ? JSON.parse(text.split("\n")[0] ?? "") : { text } }
  })

const Paths = Schema.Struct({ paths: Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Unknown)) })

interface Route {
  readonly url: string
  /** Method and pattern. */
  readonly route: string
  readonly method: string
}

/** Every route that the services themselves say they have. */
const routes = Effect.gen(function* () {
  const { addresses } = yield* TestStack
  const found: Array<Route> = []
  for (const service of services) {
    const { body } = yield* request(`${addresses[service]}/openapi.json`, "GET")
    const { paths } = yield* Schema.decodeUnknownEffect(Paths)(body)
    for (const [path, methods] of Object.entries(paths)) {
      for (const method of Object.keys(methods).map((name) => name.toUpperCase())) {
        const url = `${addresses[service]}${path.replace(/\{\w+\}/g, "20200101T000000Z-00000000")}`
        found.push({ url, method, route: `${method} ${path}` })
      }
    }
  }
  return found
})

const sync = Effect.map(TestStack, ({ addresses }) => `${addresses.ORCHESTRATOR_URL}/sync`)

layer(TestStack.layer(300), { excludeTestServices: true, timeout: "60 seconds" })("The contract", (it) => {
  it.effect("guards every route but health, with the current key only", () =>
    Effect.gen(function* () {
      const all = yield* routes
      assert.deepStrictEqual(
        new Set(all.filter(({ route }) => !open.has(route)).map(({ route }) => route)),
        new Set([
          "GET /status",
          "POST /run",
          "GET /snapshots",
          "POST /snapshots/prune",
          "POST /publish",
          "GET /rejected",
          "POST /rejected/replay",
          "POST /sync",
          "GET /runs",
          "GET /runs/{id}",
          "GET /runs/{id}/events",
          "POST /runs/{id}/cancel"
        ])
      )
      for (const { url, method, route } of all) {
        for (const key of [undefined, "", "wrong", `${adminKey}x`, adminKey.slice(1)]) {
          const { status, body } = yield* request(url, method, key)
          if (open.has(route)) assert.strictEqual(status, 200, route)
          else assert.deepStrictEqual([status, body._tag], [401, "Unauthorized"], `${route} with ${key}`)
        }
      }
    })
  )

  it.effect("answers no stranger twice who asks again and again on any route and reads nothing", () =>
    Effect.gen(function* () {
      const insist = Effect.fnUntraced(function* ({ url, method, route }: Route) {
        const { port, pathname } = new URL(url)
        const client = yield* dial(Number(port))
        client.socket.pause()
        client.socket.write(`${method} ${pathname} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`.repeat(200))
        yield* Effect.sleep("1 second")
        client.socket.resume()
        yield* client.closed.pipe(Effect.timeout("5 seconds"))
        assert.isAtMost(client.text().match(/HTTP\/1\.1 /g)?.length ?? 0, 1, route)
      }, Effect.scoped)
      yield* Effect.forEach(yield* routes, insist, { concurrency: "unbounded", discard: true })
      const { addresses } = yield* TestStack
      for (const service of services) {
        assert.strictEqual((yield* request(`${addresses[service]}/healthz`, "GET")).status, 200)
      }
    })
  )

  it.effect("answers GET /status while somebody has locked the table, without its size", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      const sql = yield* SqlClient
      const status = request(`${addresses.ORCHESTRATOR_URL}/status`, "GET", adminKey)
      const lock = sql`LOCK TABLE public.products IN ACCESS EXCLUSIVE MODE`
      const answer = yield* sql.withTransaction(Effect.andThen(lock, status)).pipe(Effect.timeout("20 seconds"))
      assert.strictEqual(answer.status, 200)
      assert.isUndefined(answer.body.sizes)
      assert.isObject((yield* status).body.sizes)
    })
  )

  it.effect("offers a POST /sync in /docs that is valid and writes nothing", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      const { body } = yield* request(`${addresses.ORCHESTRATOR_URL}/openapi.json`, "GET")
      const examples = [...JSON.stringify(body).matchAll(/"examples":\[(\{.*?\})\]/g)].map(([, text = ""]) => text)
      assert.isNotEmpty(examples)
      for (const text of examples) {
        assert.deepInclude(yield* Schema.decodeUnknownEffect(SyncOptions)(JSON.parse(text)), { dryRun: true })
      }
    })
  )

  it.effect("refuses options in the address of what starts or changes something, and a NUL anywhere", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      for (const { url, method, route } of yield* routes) {
        if (method === "POST") {
          const { status, body } = yield* request(`${url}?dryRun=true&force=1`, method, adminKey)
          assert.deepStrictEqual([status, body._tag], [400, "InvalidRequest"], route)
          assert.match(String(body.message), /JSON body, not in the address: dryRun, force$/)
        }
        const nul = yield* request(
          url.replace("20200101T000000Z-00000000", "%00").concat(url.includes("2020") ? "" : "/%00"),
          method,
          adminKey
        )
        assert.deepStrictEqual([nul.status, nul.body._tag], [404, "NotFound"], route)
      }
      const { isRunning, runId } = (yield* request(`${addresses.ORCHESTRATOR_URL}/status`, "GET", adminKey)).body
      assert.deepStrictEqual([isRunning, runId], [false, null], "nothing was started")
      const maintainer = addresses.MAINTAINER_URL ?? ""
      const asked = yield* request(`${maintainer}/rejected?reason=%00`, "GET", adminKey)
      assert.deepStrictEqual([asked.status, asked.body._tag], [400, "InvalidRequest"])
      const json = { "content-type": "application/json" }
      const replay = yield* request(`${maintainer}/rejected/replay`, "POST", adminKey, '{"reason":"a\\u0000"}', json)
      assert.deepStrictEqual([replay.status, replay.body._tag], [400, "InvalidRequest"])
      for (const id of ["%ff", "..%2f..", "%ED%A0%80", "x".repeat(3000), "%F0%9F%92%8A"]) {
        const { status } = yield* request(`${addresses.ORCHESTRATOR_URL}/runs/${id}`, "GET", adminKey)
        assert.strictEqual(status, 404, id)
      }
    })
  )

  it.effect("answers health and documents without a key, on IPv6 and IPv4", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      for (const service of services) {
        const { port } = new URL(addresses[service] ?? "")
        for (const host of ["[::1]", "127.0.0.1", "localhost"]) {
          const { status, body } = yield* request(`http://${host}:${port}/healthz`, "GET")
          assert.deepStrictEqual([status, body], [200, { status: "ok" }])
        }
        assert.strictEqual((yield* request(`${addresses[service]}/docs`, "GET")).status, 200)
      }
    })
  )

  it.effect("tells metrics on a port of their own, and nowhere else", () =>
    Effect.gen(function* () {
      const { addresses, metricsPort } = yield* TestStack
      for (const [i, service] of services.entries()) {
        const { status, body } = yield* request(`http://localhost:${metricsPort + i}/metrics`, "GET")
        assert.strictEqual(status, 200)
        assert.match(String(body.text), /^process_resident_memory_bytes \d+/m)
        assert.strictEqual((yield* request(`${addresses[service]}/metrics`, "GET", adminKey)).status, 404)
        const { port } = new URL(addresses[service] ?? "")
        assert.strictEqual((yield* request(`http://localhost:${metricsPort + i}/status`, "GET", adminKey)).status, 404)
        assert.notStrictEqual(Number(port), metricsPort + i)
      }
    })
  )

  it.effect("is ready when everything that it needs is there", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      for (const service of services) {
        const { status, body } = yield* request(`${addresses[service]}/readyz`, "GET")
        assert.deepStrictEqual([status, body], [200, { status: "ready" }])
      }
    })
  )

  it.effect("names every bad option at once, unknown ones too", () =>
    Effect.gen(function* () {
      const options = { mode: "everything", chunkSize: 5, offset: -1, limit: 0, snapshotId: "x", dryRun: "yes", zz: 1 }
      const { status, body } = yield* request(yield* sync, "POST", adminKey, JSON.stringify(options), {
        "content-type": "application/json"
      })
      assert.strictEqual(status, 400)
      const issues = body.issues as ReadonlyArray<{ readonly path: string }>
      assert.deepStrictEqual(issues.map(({ path }) => path).sort(), Object.keys(options).sort())
    })
  )

  it.effect("refuses options that the mode would ignore", () =>
    Effect.gen(function* () {
      const options = { mode: "fetch-only", snapshotId: "20200101T000000Z-00000000", limit: 3 }
      const { status, body } = yield* request(yield* sync, "POST", adminKey, JSON.stringify(options), {
        "content-type": "application/json"
      })
      assert.strictEqual(status, 400)
      const issues = body.issues as ReadonlyArray<{ readonly path: string }>
      assert.deepStrictEqual(issues.map(({ path }) => path).sort(), ["limit", "snapshotId"])
    })
  )

  it.effect("refuses malformed JSON with 400 and too large bodies with 413", () =>
    Effect.gen(function* () {
      const json = { "content-type": "application/json" }
      const broken = yield* request(yield* sync, "POST", adminKey, '{"mode":', json)
      assert.deepStrictEqual([broken.status, broken.body._tag], [400, "InvalidRequest"])
      const large = yield* request(yield* sync, "POST", adminKey, `{"mode":"${"x".repeat(100_000)}"}`, json)
      assert.deepStrictEqual([large.status, large.body._tag], [413, "TooLarge"])
    })
  )

  it.effect("starts a sync without body and content type, and shows its progress", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      const { status, body } = yield* request(yield* sync, "POST", adminKey)
      assert.deepInclude({ status, of: body.status }, { status: 202, of: "running" })
      const shown = yield* request(`${addresses.ORCHESTRATOR_URL}/status`, "GET", adminKey)
      assert.isObject(shown.body.progress)
      yield* Effect.promise(async () => {
        await using client = createClient({ baseUrl: addresses.ORCHESTRATOR_URL ?? "", adminKey })
        const ended = await client.waitFor(body.runId as string)
        assert.strictEqual(ended.status, "succeeded")
      })
    })
  )

  it.effect("gives scripts a client of promises with typed errors", () =>
    Effect.gen(function* () {
      const { addresses } = yield* TestStack
      yield* Effect.promise(async () => {
        await using client = createClient({ baseUrl: addresses.ORCHESTRATOR_URL ?? "", adminKey })
        const { runId } = await client.sync({ forceRefresh: true })
        const second = await client.sync().catch((error: unknown) => error)
        assert.deepInclude(second as object, { _tag: "SyncRunning", runId })
        let last = ""
        for await (const event of client.events(runId)) last = event._tag
        assert.strictEqual(last, "Finished")
        assert.strictEqual((await client.run(runId)).status, "succeeded")
        assert.strictEqual((await client.runs({ limit: 1 }))[0]?.runId, runId)
        assert.isFalse((await client.status()).isRunning)
        const missing = await client.run("20200101T000000Z-00000000").catch((error: unknown) => error)
        assert.deepInclude(missing as object, { _tag: "RunNotFound" })
        await using stranger = createClient({ baseUrl: addresses.ORCHESTRATOR_URL ?? "", adminKey: "wrong" })
        const refused = await stranger.status().catch((error: unknown) => error)
        assert.deepInclude(refused as object, { _tag: "Unauthorized" })
      })
    })
  )

  it.effect(
    "has a command line whose exit codes and JSON scripts can trust",
    () =>
      Effect.gen(function* () {
        const { control } = yield* TestStack
        yield* control("POST /control/changes", { update: 3 })
        const done = yield* medipim(["sync", "--json"])
        assert.strictEqual(done.code, 0, done.err)
        const run = JSON.parse(done.out)
        assert.deepInclude(run, { status: "succeeded", published: true })
        assert.match(done.err, /^(starting|fetching|staging|publishing) \d+ %: /)

        const status = yield* medipim(["status", "--json"])
        assert.deepInclude(JSON.parse(status.out), { isRunning: false, stale: false, requestedAt: run.startTime })
        assert.match((yield* medipim(["runs"])).out, /succeeded {2}full/)
        assert.match((yield* medipim(["rejected"])).out, /^0 rejected lines/)

        yield* control("POST /control/changes", { remove: 100 })
        const braked = yield* medipim(["sync"])
        assert.strictEqual(braked.code, 1)
        assert.match(braked.out, /would be removed/)
        const [refused] = JSON.parse((yield* medipim(["runs", "--json", "--limit", "1"])).out)
        const { percent, etaSeconds } = refused.progress
        assert.deepStrictEqual([refused.status, percent, etaSeconds], ["failed", 90, null], "as far as it came")
        assert.strictEqual((yield* medipim(["sync", "--mode", "nope"])).code, 2)
        assert.strictEqual((yield* medipim(["sync", "--mode", "fetch-only", "--limit", "3"])).code, 2)
        assert.strictEqual((yield* medipim(["watch", "20200101T000000Z-00000000"])).code, 5)
        assert.strictEqual((yield* medipim(["status"], { ADMIN_KEY: "wrong" })).code, 4)
        assert.strictEqual((yield* medipim(["status"], { ORCHESTRATOR_URL: "http://localhost:1" })).code, 4)
        assert.strictEqual((yield* medipim(["status"], { ADMIN_KEY: "" })).code, 2)
        const carried = yield* medipim(["status"], { ADMIN_KEY: `${adminKey}\n` })
        assert.strictEqual(carried.code, 2)
        assert.match(carried.err, /ADMIN_KEY ends with a line break: set it again without one/)

        yield* control("POST /control/faults", { fault: "stall" })
        const detached = yield* medipim(["sync", "--detach", "--force-refresh"])
        assert.strictEqual(detached.code, 0)
        const second = yield* medipim(["sync"])
        assert.strictEqual(second.code, 3)
        assert.include(second.err, detached.out.trim())
        assert.strictEqual((yield* medipim(["cancel"])).code, 0)
        const watched = yield* medipim(["watch", "--json"])
        assert.strictEqual(watched.code, 1)
        assert.deepInclude(JSON.parse(watched.out), { runId: detached.out.trim(), status: "cancelled" })
        for (const { out, err } of [done, braked, second, watched]) assert.notInclude(out + err, adminKey)
      }),
    60_000
  )
})
