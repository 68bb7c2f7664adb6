import { join } from "node:path"
import { Config, Effect, Option, Redacted } from "effect"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"
import { assertFree, type Ports, ports } from "./Ports.ts"
import { type Program, start } from "./Program.ts"
import * as Workspace from "./Workspace.ts"

/** Made up: the simulator knows no other. */
const simulatorKey = { id: "1", secret: "simulator-secret-of-no-value" }

const at = (port: { readonly port: number }): string => `http://localhost:${port.port}`

const programs = (on: Ports, products: number, databaseUrl: string, adminKey: string) => {
  const service = (name: "fetcher" | "maintainer" | "orchestrator", metrics: number, env: Program["env"]): Program => ({
    name,
    file: `packages/${name}/src/main.ts`,
    env: {
      ...env,
      [on[name].variable]: String(on[name].port),
      METRICS_PORT: String(on.metrics.port + metrics),
      ADMIN_KEY: adminKey,
      SNAPSHOT_DIR: Workspace.snapshotDir
    },
    readyUrl: `${at(on[name])}/readyz`
  })
  const simulator: Program = {
    name: "simulator",
    file: "packages/simulator/src/main.ts",
    env: {
      SIMULATOR_PORT: String(on.simulator.port),
      SIMULATOR_PRODUCTS: String(products),
      SIMULATOR_KEY_ID: simulatorKey.id,
      SIMULATOR_KEY_SECRET: simulatorKey.secret
    },
    readyUrl: `${at(on.simulator)}/control/catalogue`
  }
  return [
    simulator,
    service("fetcher", 0, {
      MEDIPIM_API_URL: `${at(on.simulator)}/v4/products/stream`,
      MEDIPIM_API_KEY_ID: simulatorKey.id,
      MEDIPIM_API_KEY_SECRET: simulatorKey.secret
    }),
    service("maintainer", 1, { DATABASE_URL: databaseUrl }),
    service("orchestrator", 2, {
      DATABASE_URL: databaseUrl,
      FETCHER_URL: at(on.fetcher),
      MAINTAINER_URL: at(on.maintainer)
    })
  ]
}

const database = Effect.fnUntraced(function* (port: number) {
  const given = yield* Config.option(Config.Redacted("DATABASE_URL"))
  if (Option.isSome(given)) return given.value
  const { url } = yield* EmbeddedPostgres.make({ dir: Workspace.databaseDir(), port, durable: true })
  return url
})

/**
 * Everything on one machine until the scope closes: Postgres, the MediPim simulator and the three services, each a
 * process of its own. `DATABASE_URL` replaces the embedded Postgres.
 */
export const startStack = Effect.fn("Stack.start")(function* (products: number) {
  const on = yield* ports
  yield* assertFree(on)
  Workspace.prepare()
  const databaseUrl = Redacted.value(yield* database(on.postgres.port))
  const given = yield* Config.option(Config.NonEmptyString("ADMIN_KEY"))
  const adminKey = Workspace.adminKey(Option.getOrUndefined(given))
  const started = yield* Effect.forEach(programs(on, products, databaseUrl, adminKey), start, { concurrency: 4 })
  const addresses = {
    ORCHESTRATOR_URL: at(on.orchestrator),
    FETCHER_URL: at(on.fetcher),
    MAINTAINER_URL: at(on.maintainer),
    SIMULATOR_URL: at(on.simulator)
  }
  const environment = { ADMIN_KEY: adminKey, DATABASE_URL: databaseUrl, ...addresses }
  Workspace.describeStack(environment)
  return { addresses, environment, died: Effect.raceAllFirst(started.map(({ died }) => died)) }
})

/** Where the logs of the stack are, as a person would write it. */
export const logs = join(".local", "logs")
