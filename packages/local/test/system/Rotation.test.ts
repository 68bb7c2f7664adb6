import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer } from "effect"
import { start } from "../../src/Program.ts"
import { programsIn } from "./Programs.ts"
import { sync } from "./TestStack.ts"

const before = "key-before-the-rotation-0123456789abcdef"
const after = "key-after-the-rotation-0123456789abcdefg"

/** Half-way: the fetcher knows both keys, the maintainer was given the new one alone, the orchestrator has the old one. */
const keys = {
  simulator: {},
  fetcher: { ADMIN_KEY: after, ADMIN_KEY_PREVIOUS: before },
  maintainer: { ADMIN_KEY: after },
  orchestrator: { ADMIN_KEY: before }
}

const halfway = Layer.unwrap(
  Effect.gen(function* () {
    const { dir, program, addressOf } = yield* programsIn("rotation", 200, before)
    yield* Effect.forEach(
      ["simulator", "fetcher", "maintainer", "orchestrator"] as const,
      (name) => start(program(name, keys[name]), dir),
      { concurrency: 4 }
    )
    return OrchestratorClient.layer(addressOf("orchestrator"))
  })
).pipe(Layer.provide([TestDatabase.layer, NodeHttpClient.layerUndici]))

layer(halfway, { excludeTestServices: true, timeout: "60 seconds" })("A rotation of the admin key, half-way", (it) => {
  it.effect("breaks no call of a service that knows both keys", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* sync({ mode: "fetch-only" })).status, "succeeded")
    })
  )

  it.effect("ends a run at once where a key is missing, and says which service lacks it", () =>
    Effect.gen(function* () {
      const run = yield* sync({ mode: "maintain-only" })
      assert.strictEqual(run.status, "failed")
      assert.strictEqual(run.failure?.code, "Unauthorized")
      assert.match(run.failure?.message ?? "", /^The maintainer refuses this X-ADMIN-KEY: .*ADMIN_KEY_PREVIOUS/)
      assert.notInclude(JSON.stringify(run), before)
    })
  )
})
