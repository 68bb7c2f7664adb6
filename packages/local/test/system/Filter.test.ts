import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer } from "effect"
import { start } from "../../src/Program.ts"
import { programsIn } from "./Programs.ts"
import { sync } from "./TestStack.ts"

/** Starts the fetcher with these settings, until the scope closes. */
class Fetcher extends Context.Service<
  Fetcher,
  { readonly startWith: (env: Record<string, string>) => ReturnType<typeof start> }
>()("local/test/Fetcher") {}

const withoutFetcher = Layer.unwrap(
  Effect.gen(function* () {
    const { dir, program, addressOf } = yield* programsIn("filter", 300)
    yield* Effect.forEach(["simulator", "maintainer", "orchestrator"] as const, (name) => start(program(name), dir), {
      concurrency: 3
    })
    let starts = 0
    const startWith = (env: Record<string, string>) =>
      start({ ...program("fetcher", env), name: `fetcher-${++starts}` }, dir)
    return Layer.mergeAll(
      Layer.succeed(Fetcher, Fetcher.of({ startWith })),
      FetcherClient.layer(addressOf("fetcher")),
      OrchestratorClient.layer(addressOf("orchestrator"))
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
