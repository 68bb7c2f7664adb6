import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Context, Effect, Layer, Redacted } from "effect"
import { freePorts } from "../src/Ports.ts"
import { start } from "../src/Program.ts"
import { programsOf } from "../src/Stack.ts"
import { temporaryFolder } from "../src/TemporaryFolder.ts"
import { TestDatabase } from "../src/TestDatabase.ts"
import { adminKey, sync } from "./TestStack.ts"

/** Starts the fetcher with these settings, until the scope closes. */
class Fetcher extends Context.Service<
  Fetcher,
  { readonly startWith: (env: Record<string, string>) => ReturnType<typeof start> }
>()("local/test/Fetcher") {}

const withoutFetcher = Layer.unwrap(
  Effect.gen(function* () {
    const { url } = yield* TestDatabase
    const dir = yield* temporaryFolder("filter")
    const on = yield* freePorts
    const programs = programsOf({
      form: "src",
      on,
      products: 300,
      databaseUrl: Redacted.value(url),
      adminKey,
      store: { SNAPSHOT_DIR: join(dir, "snapshots") },
      logDir: dir
    })
    const fetcher = programs.find(({ name }) => name === "fetcher")
    if (fetcher === undefined) return yield* Effect.die("there is no fetcher")
    const others = programs.filter(({ name }) => name !== "fetcher")
    yield* Effect.forEach(others, (program) => start(program, dir), { concurrency: 3 })
    let starts = 0
    const startWith = (env: Record<string, string>) =>
      start({ ...fetcher, name: `fetcher-${++starts}`, env: { ...fetcher.env, ...env } }, dir)
    const key = Redacted.make(adminKey)
    const addressOf = (port: number) => ({ baseUrl: `http://localhost:${port}`, adminKey: key })
    return Layer.mergeAll(
      Layer.succeed(Fetcher, Fetcher.of({ startWith })),
      FetcherClient.layer(addressOf(on.fetcher.port)),
      OrchestratorClient.layer(addressOf(on.orchestrator.port))
    )
  })
).pipe(Layer.provide([TestDatabase.layer, NodeHttpClient.layerUndici]))

layer(withoutFetcher, { excludeTestServices: true, timeout: "60 seconds" })("A fetcher with another filter", (it) => {
  it.effect("downloads anew though a fresh snapshot is there: the other one is of another catalogue", () =>
    Effect.gen(function* () {
      const { startWith } = yield* Fetcher
      const { snapshots } = yield* FetcherClient
      const narrow = yield* Effect.scoped(
        Effect.andThen(startWith({ MEDIPIM_FILTER: '{"status":["active"]}' }), sync({ dryRun: true }))
      )
      yield* startWith({})
      const whole = yield* sync({ dryRun: true })
      assert.notStrictEqual(whole.snapshotId, narrow.snapshotId)
      assert.isAbove(whole.progress.inserted, narrow.progress.inserted)
      const listed = (yield* snapshots()).snapshots.map(({ snapshotId, current }) => `${snapshotId} ${current}`)
      assert.deepStrictEqual(listed, [`${whole.snapshotId} true`, `${narrow.snapshotId} false`])
      assert.strictEqual((yield* sync()).snapshotId, whole.snapshotId)
    }).pipe(Effect.scoped)
  )
})
