import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { dailyAt } from "@medipim/testing/DailyCron"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Clock, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { freePorts } from "../../src/Ports.ts"
import { start } from "../../src/Program.ts"
import { root } from "../../src/Workspace.ts"
import { withClockFile, writeClock } from "./ClockFile.ts"
import { adminKey } from "./TestStack.ts"

const database = Migrations.layer.pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "test"))
    )
  ),
  Layer.provideMerge([TestDatabase.layer, NodeHttpClient.layerUndici])
)

const day = 24 * 60 * 60 * 1000

layer(database, { excludeTestServices: true })("Two orchestrators with SYNC_CRON", (it) => {
  it.effect(
    "with clocks that are wrong by days make up for one sync that was due, and both tell when the next one starts",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { url } = yield* TestDatabase
        const dir = yield* temporaryFolder("schedule")
        const due = (yield* Clock.currentTimeMillis) - 3 * 60 * 60 * 1000
        const cron = dailyAt(due)
        yield* sql`INSERT INTO medipim.sync_schedule (cron, timezone, handled_until)
        VALUES (${cron}, 'UTC', now() - interval '3 days')`

        const orchestrator = Effect.fnUntraced(function* (name: string, clockError: number) {
          yield* writeClock(join(dir, `${name}.clock`), clockError)
          const on = yield* freePorts
          const baseUrl = `http://localhost:${on.orchestrator.port}`
          yield* start(
            {
              name,
              file: "packages/orchestrator/src/main.ts",
              env: {
                ADMIN_KEY: adminKey,
                DATABASE_URL: Redacted.value(url),
                ORCHESTRATOR_PORT: String(on.orchestrator.port),
                METRICS_PORT: String(on.metrics.port),
                // Nobody is there: the run goes on asking while this test looks at it.
                FETCHER_URL: `http://localhost:${on.fetcher.port}`,
                SYNC_CRON: cron,
                SYNC_TIMEZONE: "UTC",
                ...withClockFile(join(dir, `${name}.clock`))
              },
              readyUrl: `${baseUrl}/readyz`
            },
            dir
          )
          const client = yield* OrchestratorClient.pipe(
            Effect.provide(OrchestratorClient.layer({ baseUrl, adminKey: Redacted.make(adminKey) }))
          )
          return { client, baseUrl }
        })
        const both = yield* Effect.all([orchestrator("one", -3 * day), orchestrator("other", 3 * day)], {
          concurrency: 2
        })

        for (const { client, baseUrl } of both) {
          const status = yield* client.status().pipe(
            Effect.filterOrFail(({ isRunning }) => isRunning),
            Effect.retry(Schedule.spaced("100 millis"))
          )
          assert.strictEqual(status.mode, "full")
          const next = Date.parse(status.nextScheduledRun ?? "")
          assert.strictEqual(next, Math.floor(due / 60_000) * 60_000 + day)
          const { stdout } = spawnSync(
            process.execPath,
            ["--conditions=medipim-source", join(root, "packages/cli/src/main.ts"), "status"],
            { encoding: "utf8", env: { ORCHESTRATOR_URL: baseUrl, ADMIN_KEY: adminKey } }
          )
          assert.include(stdout, `next sync      ${status.nextScheduledRun}`)
          const { runs } = yield* client.runs({ query: {} })
          assert.strictEqual(runs.length, 1)
        }
        const said = ["one", "other"].map((name) => readFileSync(join(dir, `${name}.log`), "utf8")).join("")
        assert.strictEqual(said.split("The schedule starts sync").length - 1, 1)
        assert.notInclude(said, "The schedule starts no sync")
      })
  )
})
