import { mkdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { json } from "node:stream/consumers"
import type { Run } from "@medipim/domain/Run"
import { FetcherStatus } from "@medipim/http-api/FetcherApi"
import { MaintainerStatus } from "@medipim/http-api/MaintainerApi"
import * as Postgres from "@medipim/platform/database/Postgres"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Context, Effect, Exit, Layer, Redacted, Schema, Scope } from "effect"
import { EmbeddedPostgres, freePort } from "../../../src/EmbeddedPostgres.ts"
import { freePorts } from "../../../src/Ports.ts"
import { start } from "../../../src/Program.ts"
import { programsOf } from "../../../src/Stack.ts"
import { moveClock, withClockFile, writeClock } from "../../system/ClockFile.ts"
import { partBytes } from "./Figures.ts"
import { makeProxy } from "./Proxy.ts"
import { download } from "./Source.ts"

export type ServiceName = "fetcher" | "maintainer" | "orchestrator" | "second"
const adminKey = "test-key-of-forty-characters-0123456789ab"
export const headers = { "x-admin-key": adminKey, "content-type": "application/json" }

/** What is told of a run; the key is its id. */
export interface Notification {
  readonly key: string
  readonly run: Pick<Run, "status" | "failure" | "progress">
}

/** Who hears how runs end. */
const listener = Effect.gen(function* () {
  const heard: Array<Notification> = []
  const server = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const made = createServer(async (request, response) => {
        const { run } = (await json(request)) as Notification
        heard.push({ key: String(request.headers["idempotency-key"]), run })
        response.end()
      })
      made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
    }),
    (made) =>
      Effect.sync(() => {
        made.close()
        made.closeAllConnections()
      })
  )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard }
})

/** The system as real processes, with a proxy on every way between them, on a Postgres that can be crashed. */
const make = Effect.fnUntraced(function* (products: number) {
  const dir = yield* temporaryFolder("chaos")
  mkdirSync(join(dir, "logs"))
  const on = yield* freePorts
  const supabase = yield* SupabaseStandIn
  const told = yield* listener
  const secondPort = yield* Effect.promise(freePort)
  const at = (name: "simulator" | "fetcher" | "maintainer") => makeProxy(`http://localhost:${on[name].port}`)
  const proxies = {
    source: yield* at("simulator"),
    fetcher: yield* at("fetcher"),
    maintainer: yield* at("maintainer"),
    store: yield* makeProxy(supabase.url),
    listener: yield* makeProxy(told.url)
  }

  const databaseDir = join(dir, "data")
  let database = yield* Scope.make()
  const startDatabase = Effect.suspend(() =>
    EmbeddedPostgres.make({ dir: databaseDir, port: on.postgres.port, durable: false }).pipe(Scope.provide(database))
  )
  yield* Effect.addFinalizer((exit) => Scope.close(database, exit))
  const { url } = yield* startDatabase
  /** As a power cut does: nothing is written down, unlogged tables are empty afterwards. */
  const stopDatabase = Effect.gen(function* () {
    const pid = Number(readFileSync(join(databaseDir, "postmaster.pid"), "utf8").split("\n")[0])
    process.kill(pid, "SIGQUIT")
    yield* Scope.close(database, Exit.void)
    database = yield* Scope.make()
  })

  const setup = {
    form: "src",
    on,
    products,
    databaseUrl: Redacted.value(url),
    adminKey,
    store: { SUPABASE_URL: proxies.store.url, SUPABASE_SERVICE_ROLE_KEY: supabase.key },
    logDir: join(dir, "logs")
  } as const
  const [simulator, ...services] = programsOf(setup)
  const ways: Record<string, string> = {
    MEDIPIM_API_URL: `${proxies.source.url}/v4/products/stream`,
    FETCHER_URL: proxies.fetcher.url,
    MAINTAINER_URL: proxies.maintainer.url,
    NOTIFY_URL: proxies.listener.url,
    REQUEST_TIMEOUT: "3000",
    PART_BYTES: String(partBytes),
    LOG_FORMAT: "json"
  }
  const programs = new Map(services.map((program) => [program.name, { ...program, env: { ...program.env, ...ways } }]))
  const clock = join(dir, "clock")
  yield* writeClock(clock, 0)
  const first = programs.get("orchestrator")
  if (first === undefined) return yield* Effect.die("there is no orchestrator")
  programs.set("orchestrator", {
    ...first,
    env: { ...first.env, ...withClockFile(clock) }
  })
  programs.set("second", {
    ...first,
    env: { ...first.env, ORCHESTRATOR_PORT: String(secondPort), METRICS_PORT: String(on.metrics.port + 3) },
    readyUrl: `http://localhost:${secondPort}/readyz`
  })

  type Started = Effect.Success<ReturnType<typeof start>> & { readonly scope: Scope.Closeable }
  const running = new Map<ServiceName, Started>()
  let starts = 0
  const launch = Effect.fnUntraced(function* (name: ServiceName) {
    const program = programs.get(name)
    if (program === undefined) return yield* Effect.die(`there is no ${name}`)
    const scope = yield* Scope.make()
    starts += 1
    const started = yield* start({ ...program, name: `${name}-${starts}` }, setup.logDir).pipe(Scope.provide(scope))
    running.set(name, { ...started, scope })
  })
  /** SIGKILL to the whole process group; answers once nothing of it is left. */
  const kill = Effect.fnUntraced(function* (name: ServiceName) {
    const found = running.get(name)
    if (found === undefined) return
    running.delete(name)
    process.kill(-found.pid, "SIGKILL")
    yield* Scope.close(found.scope, Exit.void)
  })
  /** SIGTERM, as a deploy does it. Answers with which code the process has ended. */
  const stop = Effect.fnUntraced(function* (name: ServiceName) {
    const found = running.get(name)
    if (found === undefined) return yield* Effect.die(`the ${name} does not run`)
    running.delete(name)
    yield* Scope.close(found.scope, Exit.void)
    return yield* found.ended
  })
  yield* Effect.addFinalizer(() => Effect.forEach([...running.keys()], kill, { discard: true }))
  // The suite asks it too, and the faster it is the more often.
  const unlimited = { SIMULATOR_REQUESTS_PER_MINUTE: "1000000" }
  if (simulator !== undefined) {
    yield* start({ ...simulator, env: { ...simulator.env, ...unlimited } }, setup.logDir)
  }
  yield* Effect.forEach(["fetcher", "maintainer", "orchestrator"] as const, launch, { concurrency: 3, discard: true })

  const simulatorUrl = `http://localhost:${on.simulator.port}`
  let streamBytes = 0
  const stream = Effect.promise(async () => {
    const bytes = await download(simulatorUrl)
    streamBytes = bytes.length
    return bytes
  })
  const control = Effect.fnUntraced(function* (route: string, body?: unknown) {
    const [method = "GET", path] = route.split(" ")
    const sent = body === undefined ? { method } : { method, body: JSON.stringify(body) }
    const answer = yield* Effect.promise(() => fetch(`${simulatorUrl}${path}`, sent))
    const text = yield* Effect.promise(() => answer.text())
    if (!answer.ok) return yield* Effect.fail(`${route} answered ${answer.status}: ${text}`)
    return JSON.parse(text) as Record<string, unknown>
  })
  /** What a service says of itself, past its proxy. */
  const statusOf = <S extends Schema.ConstraintDecoder<unknown>>(name: "fetcher" | "maintainer", schema: S) =>
    Effect.promise(async () => (await fetch(`http://localhost:${on[name].port}/status`, { headers })).json()).pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(schema)),
      Effect.orDie
    )
  const orchestrators = [`http://localhost:${on.orchestrator.port}`, `http://localhost:${secondPort}`] as const
  return {
    proxies,
    control,
    simulatorUrl,
    fetcherStatus: statusOf("fetcher", FetcherStatus),
    maintainerStatus: statusOf("maintainer", MaintainerStatus),
    orchestrators,
    heard: told.heard,
    trouble: supabase.trouble,
    troubleLeft: supabase.troubleLeft,
    launch,
    kill,
    stop,
    /** By how many milliseconds the clock of the orchestrator is wrong. */
    setClock: (error: number) => moveClock(clock, error),
    stopDatabase,
    startDatabase: Effect.asVoid(startDatabase),
    crashDatabase: Effect.andThen(stopDatabase, Effect.asVoid(startDatabase)),
    /** How often the log of the database has this text. */
    logged: (text: string) => Effect.sync(() => readFileSync(`${databaseDir}.log`, "utf8").split(text).length - 1),
    /** A stored object, or `undefined` when it is not there. */
    object: (key: string) =>
      Effect.promise(async () => {
        const answer = await fetch(`${supabase.url}/storage/v1/object/medipim-raw/${key}`, {
          headers: { apikey: supabase.key }
        })
        return answer.ok ? await answer.text() : undefined
      }),
    /** Changes stored objects behind everybody's back; answers how many. */
    damage: supabase.damage,
    /** The whole stream as it is now. */
    stream,
    /** Places up to here are always reached in the stream as it was last read: the catalogue changes from case to case. */
    get streamBytes() {
      return Math.floor(0.9 * streamBytes)
    },
    databaseUrl: url,
    database: Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, "chaos"),
    logDir: setup.logDir
  }
})

export class Environment extends Context.Service<Environment, Effect.Success<ReturnType<typeof make>>>()(
  "local/test/chaos/Environment"
) {
  static readonly layer = (products: number) =>
    Layer.effect(Environment, make(products)).pipe(Layer.provide(SupabaseStandIn.layer))
}
