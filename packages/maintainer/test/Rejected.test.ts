import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { MaintainerClient } from "@medipim/http-api/Clients"
import { MaintainerApi } from "@medipim/http-api/MaintainerApi"
import { freePorts } from "@medipim/local/Ports"
import * as ApiServer from "@medipim/platform/http/ApiServer"
import { Draining } from "@medipim/platform/process/Draining"
import { Effect, Layer, Option, Redacted } from "effect"
import { Jobs } from "../src/Jobs.ts"
import * as MaintainerHttp from "../src/MaintainerHttp.ts"
import { empty, products, services, sync, unstorable } from "./Fixture.ts"

const adminKey = Redacted.make("test-key-of-forty-characters-0123456789ab")

/** The maintainer's routes over real HTTP, and its services beside them. */
const served = Layer.unwrap(
  Effect.map(freePorts, ({ maintainer, metrics }) => {
    const none = Option.none()
    const keys = { adminKey, previousAdminKey: none, flyAppName: none }
    const server = ApiServer.layer(MaintainerApi, { port: maintainer.port, metricsPort: metrics.port, ...keys })
    return server.pipe(
      Layer.provide(MaintainerHttp.layer.pipe(Layer.provide(ApiServer.middlewareLayer(keys)))),
      Layer.provide([Jobs.layer, Draining.layer]),
      Layer.merge(MaintainerClient.layer({ baseUrl: `http://localhost:${maintainer.port}`, adminKey })),
      Layer.provide(NodeHttpClient.layerUndici),
      Layer.provideMerge(services)
    )
  })
)

/** Deeper than Postgres is asked to store. */
const nested = { note: Array.from({ length: 120 }).reduce<unknown>((inner) => [inner], "deep") }

/** A whole sync in which these lines cannot be decoded; the name of its run. */
const rejecting = (lines: Readonly<Record<number, object>>) =>
  Effect.map(
    sync(
      products(100).map((source, n) => ({ ...source, ...lines[n] })),
      { force: true }
    ),
    ({ runId }) => runId
  )

const twoRuns = Effect.gen(function* () {
  yield* empty
  const first = yield* rejecting({ 3: unstorable, 40: unstorable, 77: unstorable })
  const second = yield* rejecting({ 50: unstorable, 6: nested, 5: nested })
  return { first, second }
})

type RejectedPageRequest = NonNullable<Parameters<MaintainerClient["Service"]["rejected"]>[0]>["query"]

/** How many lines there are, and the place of each that is shown. */
const rejected = (query: RejectedPageRequest) =>
  Effect.gen(function* () {
    const { total, records } = yield* (yield* MaintainerClient).rejected({ query })
    return { total, places: records.map(({ runId, record }) => [runId, record] as const) }
  })

layer(served, { excludeTestServices: true, timeout: "60 seconds" })("GET /rejected", (it) => {
  it.effect("shows each line on one page, the newest run first", () =>
    Effect.gen(function* () {
      const { first, second } = yield* twoRuns
      const all = [5, 6, 50].map((n) => [second, n] as const).concat([3, 40, 77].map((n) => [first, n] as const))
      for (const page of [0, 1, 2, 3]) {
        const places = all.slice(2 * page, 2 * page + 2)
        assert.deepStrictEqual(yield* rejected({ page, size: 2 }), { total: 6, places }, `page ${page}`)
      }
      assert.deepStrictEqual(yield* rejected({ page: 1, size: 4 }), { total: 6, places: all.slice(4) })
      assert.deepStrictEqual(yield* rejected({}), { total: 6, places: all })
    })
  )

  it.effect("counts and pages only the lines that are asked for, by run and by a part of the reason", () =>
    Effect.gen(function* () {
      const { first, second } = yield* twoRuns
      const answer = (total: number, run: typeof first, ...records: ReadonlyArray<number>) => ({
        total,
        places: records.map((record) => [run, record] as const)
      })
      assert.deepStrictEqual(yield* rejected({ runId: first, page: 0, size: 2 }), answer(3, first, 3, 40))
      assert.deepStrictEqual(yield* rejected({ runId: first, page: 1, size: 2 }), answer(3, first, 77))
      assert.deepStrictEqual(yield* rejected({ reason: "DEEPER than", page: 0, size: 1 }), answer(2, second, 5))
      assert.deepStrictEqual(yield* rejected({ reason: "DEEPER than", page: 1, size: 1 }), answer(2, second, 6))
      assert.deepStrictEqual(yield* rejected({ reason: "U+0000", runId: second }), answer(1, second, 50))
      assert.deepStrictEqual(yield* rejected({ reason: "deeper", runId: first }), answer(0, first))
    })
  )
})
