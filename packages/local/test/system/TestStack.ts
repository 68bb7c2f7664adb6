import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { FetcherClient, MaintainerClient, OrchestratorClient } from "@medipim/http-api/Clients"
import * as Postgres from "@medipim/platform/database/Postgres"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { freePorts } from "../../src/Ports.ts"
import { startPrograms } from "../../src/Stack.ts"

export const adminKey = "test-key-of-forty-characters-0123456789ab"

/** The whole system as real processes on a database of its own, and ways to reach it. */
export class TestStack extends Context.Service<
  TestStack,
  {
    readonly addresses: Readonly<Record<string, string>>
    readonly snapshotDir: string
    readonly databaseUrl: string
    /** Of the fetcher; the maintainer and the orchestrator have the next two. */
    readonly metricsPort: number
    /** A control route of the simulator. */
    readonly control: (route: string, body?: unknown) => Effect.Effect<Record<string, unknown>>
  }
>()("local/test/TestStack") {
  /** Snapshots are in a folder unless `store` names another place; the services log in as who `database` names. */
  static readonly layer = (
    products: number,
    store?: Readonly<Record<string, string>>,
    database: Layer.Layer<TestDatabase, Layer.Error<typeof TestDatabase.layer>> = TestDatabase.layer
  ) =>
    Layer.unwrap(
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        const databaseUrl = Redacted.value(url)
        const dir = yield* temporaryFolder("stack")
        const on = yield* freePorts
        const snapshotDir = join(dir, "snapshots")
        const { addresses } = yield* startPrograms({
          form: "src",
          on,
          products,
          databaseUrl,
          adminKey,
          store: store ?? { SNAPSHOT_DIR: snapshotDir },
          logDir: dir
        })
        const key = Redacted.make(adminKey)
        const control = (route: string, body?: unknown) =>
          Effect.promise(async () => {
            const [method, path] = route.split(" ")
            const answer = await fetch(`${addresses.SIMULATOR_URL}${path}`, {
              method: method ?? "GET",
              ...(body === undefined ? {} : { body: JSON.stringify(body) })
            })
            return (await answer.json()) as Record<string, unknown>
          })
        return Layer.mergeAll(
          Layer.succeed(TestStack, {
            addresses,
            snapshotDir,
            databaseUrl,
            control,
            metricsPort: on.metrics.port
          }),
          OrchestratorClient.layer({ baseUrl: addresses.ORCHESTRATOR_URL, adminKey: key }),
          FetcherClient.layer({ baseUrl: addresses.FETCHER_URL, adminKey: key }),
          MaintainerClient.layer({ baseUrl: addresses.MAINTAINER_URL, adminKey: key }),
          Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "test")
        )
      })
    ).pipe(Layer.provide([database, NodeHttpClient.layerUndici]))
}

/** The run once it has ended. */
export const ended = Effect.fnUntraced(function* (runId: string) {
  const client = yield* OrchestratorClient
  return yield* client.run({ params: { id: runId } }).pipe(
    Effect.filterOrFail(
      (run) => run.status !== "running",
      () => "running" as const
    ),
    Effect.retry({ schedule: Schedule.spaced("100 millis"), while: (error) => error === "running" })
  )
})

/** A whole sync with these options. */
export const sync = Effect.fnUntraced(function* (payload: SyncOptions = {}) {
  const client = yield* OrchestratorClient
  const { runId } = yield* client.sync({ payload })
  return yield* ended(runId)
})
