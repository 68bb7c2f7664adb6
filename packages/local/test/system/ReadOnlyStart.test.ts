import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import * as Postgres from "@medipim/platform/database/Postgres"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { start } from "../../src/Program.ts"
import { listener } from "./Listener.ts"
import { programsIn } from "./Programs.ts"

const database = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 3 }, "test"))
).pipe(Layer.provideMerge([TestDatabase.layer, NodeHttpClient.layerUndici]))

layer(database, { excludeTestServices: true, timeout: "60 seconds" })("A database that takes no changes", (it) => {
  it.effect("keeps no orchestrator from starting on it, which says so and notifies of a sync that it refuses", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { dir, program, addressOf } = yield* programsIn("read-only", 10)
      const { url, told } = yield* listener
      const orchestrator = program("orchestrator", { NOTIFY_URL: url })
      // An installation that has worked: without its tables an orchestrator ends, which whoever installs it sees.
      yield* Effect.scoped(start(orchestrator, dir))
      yield* sql`ALTER DATABASE postgres SET default_transaction_read_only = on`
      const { baseUrl } = addressOf("orchestrator")
      yield* start({ ...orchestrator, readyUrl: `${baseUrl}/healthz` }, dir)

      const readyz = yield* Effect.promise(() => fetch(orchestrator.readyUrl))
      assert.strictEqual(readyz.status, 503)
      assert.match(yield* Effect.promise(() => readyz.text()), /ReadOnly/)

      const refused = yield* Effect.gen(function* () {
        return yield* Effect.flip((yield* OrchestratorClient).sync({ payload: {} }))
      }).pipe(Effect.provide(OrchestratorClient.layer(addressOf("orchestrator"))))
      assert.match(refused.message, /^ReadOnly: /)
      yield* Effect.sync(() => told.length).pipe(
        Effect.repeat({ until: (n) => n > 0, schedule: Schedule.spaced("50 millis") }),
        Effect.timeout("10 seconds")
      )
      assert.match(told[0]?.text ?? "", /cannot begin: ReadOnly: /)
    })
  )
})
