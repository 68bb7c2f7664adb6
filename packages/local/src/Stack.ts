import { Effect, Redacted } from "effect"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"
import { assertFree, type Ports, ports } from "./Ports.ts"
import { type Program, start } from "./Program.ts"
import * as Workspace from "./Workspace.ts"

/** Made up: the simulator knows no other. */
const simulatorKey = { id: "1", secret: "simulator-secret-of-no-value" }

const at = (port: { readonly port: number }): string => `http://localhost:${port.port}`

export interface Setup {
  /** Sources as they are, or what `npm run build` made of them. */
  readonly form: "src" | "dist"
  readonly on: Ports
  readonly products: number
  readonly databaseUrl: string
  readonly adminKey: string
  /** The one address that is listened on; all of them without it. */
  readonly listenAddress?: string
  /** Where snapshots are: `SNAPSHOT_DIR`, or the variables of Supabase. */
  readonly store: Readonly<Record<string, string>>
  readonly logDir: string
}

const addressesOf = (on: Ports) => ({
  ORCHESTRATOR_URL: at(on.orchestrator),
  FETCHER_URL: at(on.fetcher),
  MAINTAINER_URL: at(on.maintainer),
  SIMULATOR_URL: at(on.simulator)
})

const fileOf = (name: string, form: Setup["form"]): string =>
  `packages/${name}/${form}/main.${form === "src" ? "ts" : "js"}`

const listeningOn = ({ listenAddress }: Setup) => (listenAddress === undefined ? {} : { LISTEN_ADDRESS: listenAddress })

const simulatorOf = (setup: Setup): Program => ({
  name: "simulator",
  file: fileOf("simulator", setup.form),
  env: {
    ...listeningOn(setup),
    SIMULATOR_PORT: String(setup.on.simulator.port),
    SIMULATOR_PRODUCTS: String(setup.products),
    SIMULATOR_KEY_ID: simulatorKey.id,
    SIMULATOR_KEY_SECRET: simulatorKey.secret
  },
  readyUrl: `${at(setup.on.simulator)}/control/catalogue`
})

const servicesOf = (setup: Setup): ReadonlyArray<Program> => {
  const { on, databaseUrl, adminKey, store, form } = setup
  const specific = {
    fetcher: {
      MEDIPIM_API_URL: `${at(on.simulator)}/v4/products/stream`,
      MEDIPIM_API_KEY_ID: simulatorKey.id,
      MEDIPIM_API_KEY_SECRET: simulatorKey.secret,
      ...store
    },
    maintainer: { DATABASE_URL: databaseUrl, ...store },
    orchestrator: { DATABASE_URL: databaseUrl, FETCHER_URL: at(on.fetcher), MAINTAINER_URL: at(on.maintainer) }
  }
  return (["fetcher", "maintainer", "orchestrator"] as const).map((name, i) => ({
    name,
    file: fileOf(name, form),
    env: {
      ...specific[name],
      ...listeningOn(setup),
      [`${name.toUpperCase()}_PORT`]: String(on[name].port),
      METRICS_PORT: String(on.metrics.port + i),
      ADMIN_KEY: adminKey
    },
    readyUrl: `${at(on[name])}/readyz`
  }))
}

/** The simulator and the three services, in this order. */
export const programsOf = (setup: Setup): ReadonlyArray<Program> => [simulatorOf(setup), ...servicesOf(setup)]

/** The simulator and the three services, each a process of its own, until the scope closes. */
export const startPrograms = Effect.fn("Stack.startPrograms")(function* (setup: Setup) {
  const started = yield* Effect.forEach(programsOf(setup), (program) => start(program, setup.logDir), {
    concurrency: 4
  })
  return {
    addresses: addressesOf(setup.on),
    pids: Object.fromEntries(started.map(({ name, pid }) => [name, pid])),
    died: Effect.raceAllFirst(started.map(({ died }) => died))
  }
})

const loopback = "127.0.0.1"

/** A variable that is set; an empty one is not. */
const given = (variable: string): string | undefined => process.env[variable] || undefined

const database = Effect.fnUntraced(function* (port: number) {
  const url = given("LOCAL_DATABASE_URL")
  return url === undefined ? yield* embedded(port) : url
})

const embedded = Effect.fnUntraced(function* (port: number) {
  const { url } = yield* EmbeddedPostgres.make({ dir: Workspace.databaseDir(), port, durable: true })
  return Redacted.value(url)
})

/**
 * Everything on one machine until the scope closes: Postgres, the MediPim simulator and the three services, each a
 * process of its own. `LOCAL_DATABASE_URL` replaces the embedded Postgres; `DATABASE_URL` does not: invented products must not
 * land where a developer keeps the real ones. Only this machine reaches it, unless `LISTEN_ADDRESS` says otherwise: the control of the
 * simulator asks for no key.
 */
export const startStack = Effect.fn("Stack.start")(function* (products: number) {
  const on = yield* ports
  yield* assertFree(on)
  Workspace.prepare()
  const databaseUrl = yield* database(on.postgres.port)
  const adminKey = Workspace.adminKey(given("ADMIN_KEY"))
  const { addresses, died } = yield* startPrograms({
    form: "src",
    on,
    products,
    databaseUrl,
    adminKey,
    listenAddress: given("LISTEN_ADDRESS") ?? loopback,
    store: { SNAPSHOT_DIR: Workspace.snapshotDir },
    logDir: Workspace.logDir
  })
  const environment = { ADMIN_KEY: adminKey, DATABASE_URL: databaseUrl, ...addresses }
  yield* Effect.acquireRelease(
    Effect.sync(() => Workspace.describeStack(environment)),
    () => Effect.sync(Workspace.forgetStack)
  )
  return { addresses, environment, died }
})

/** Where the logs of the stack are, as a person would write it. */
export const logs = Workspace.logDir
