import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import * as Postgres from "@medipim/platform/database/Postgres"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { start } from "../../src/Program.ts"
import { afterBytes } from "../chaos/harness/ByteOffset.ts"
import { makeProxy } from "../chaos/harness/Proxy.ts"
import { listener, type Told } from "./Listener.ts"
import { programsIn } from "./Programs.ts"
import { ended, sync } from "./TestStack.ts"

const products = 3000

type Proxy = Effect.Success<ReturnType<typeof makeProxy>>

/** The whole system with a proxy before the source and one before the store; a run may take so long. */
const make = Effect.gen(function* () {
  const { on, dir, program, addressOf } = yield* programsIn("outages", products)
  const standIn = yield* SupabaseStandIn
  const source = yield* makeProxy(`http://localhost:${on.simulator.port}`)
  const store = yield* makeProxy(standIn.url)
  const { url, told } = yield* listener
  const env = {
    SNAPSHOT_DIR: "",
    SUPABASE_URL: store.url,
    SUPABASE_SERVICE_ROLE_KEY: standIn.key,
    MEDIPIM_API_URL: `${source.url}/v4/products/stream`,
    PART_BYTES: "1000000",
    MAX_RUN_DURATION: "20 seconds",
    NOTIFY_URL: url
  }
  yield* Effect.forEach(
    ["simulator", "fetcher", "maintainer", "orchestrator"] as const,
    (name) => start(program(name, name === "simulator" ? {} : env), dir),
    { concurrency: 4 }
  )
  const clients = yield* Layer.build(
    Layer.merge(OrchestratorClient.layer(addressOf("orchestrator")), FetcherClient.layer(addressOf("fetcher")))
  )
  return Context.add(clients, Outages, { source, store, told })
})

class Outages extends Context.Service<
  Outages,
  { readonly source: Proxy; readonly store: Proxy; readonly told: ReadonlyArray<Told> }
>()("local/test/Outages") {}

const stack = Layer.effectContext(make).pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 3 }, "test"))
    )
  ),
  Layer.provide([TestDatabase.layer, SupabaseStandIn.layer, NodeHttpClient.layerUndici])
)

/** Until the run says that it waits for this. */
const shows = (what: string) =>
  Effect.flatMap(OrchestratorClient, (client) => client.status()).pipe(
    Effect.map(({ waitingFor = [] }) => waitingFor.find((wait) => wait.what === what)),
    Effect.repeat({ until: (wait) => wait !== undefined, schedule: Schedule.spaced("200 millis") }),
    Effect.timeout("20 seconds")
  )

layer(stack, { excludeTestServices: true, timeout: "120 seconds" })("An outage", (it) => {
  it.effect("of 8 s of the store in the middle of a download is waited for, and shown since when and why", () =>
    Effect.gen(function* () {
      const { store } = yield* Outages
      const client = yield* OrchestratorClient
      const armed = store.set({ where: /part-00001\.ndjson/, at: "request" })
      const { runId } = yield* client.sync({ payload: {} })
      yield* armed.sprung
      yield* store.away(true)
      yield* armed.open
      const away = Effect.sleep("8 seconds").pipe(Effect.andThen(store.away(false)))
      const [wait] = yield* Effect.all([shows("the snapshot store"), away], { concurrency: 2 })
      assert.match(wait?.reason ?? "", /fetch failed/)
      assert.match(wait?.since ?? "", /^20\d\d-\d\d-\d\dT/)
      const run = yield* ended(runId)
      assert.deepInclude(run, { status: "succeeded", published: true }, run.failure?.message)
      assert.deepInclude(run.progress, { inserted: products })
      assert.deepStrictEqual(run.waitingFor ?? [], [])
      assert.deepStrictEqual((yield* client.status()).waitingFor ?? [], [])
    })
  )

  it.effect("that does not end, ends the run after MAX_RUN_DURATION, and the reason says so", () =>
    Effect.gen(function* () {
      const { source } = yield* Outages
      const client = yield* OrchestratorClient
      yield* source.away(true)
      const { runId } = yield* client.sync({ payload: { forceRefresh: true } })
      yield* shows("MediPim")
      const run = yield* ended(runId)
      yield* source.away(false)
      assert.deepInclude(run, { status: "failed", published: false })
      assert.strictEqual(run.failure?.code, "RunTimeout")
      assert.match(
        run.failure?.message ?? "",
        /^The run was stopped after 20s \(MAX_RUN_DURATION\); nothing was published\. It was waiting for MediPim since 20\d\d-/
      )
      // Whoever worked for it has stopped, too: the next run begins at once.
      assert.isFalse((yield* (yield* FetcherClient).status()).isRunning)
      assert.deepInclude(yield* sync({ forceRefresh: true }), { status: "succeeded", published: true })
    })
  )

  it.effect("of the source in the middle of a stream is gone on from, not begun again", () =>
    Effect.gen(function* () {
      const { source } = yield* Outages
      const client = yield* OrchestratorClient
      const armed = source.set({ where: /\/stream$/, at: "body", place: afterBytes(9_000_000) })
      const before = source.bytes()
      const { runId } = yield* client.sync({ payload: { forceRefresh: true } })
      yield* armed.sprung
      yield* source.away(true)
      yield* armed.open
      yield* Effect.all([shows("MediPim"), Effect.sleep("4 seconds")], { concurrency: 2 })
      yield* source.away(false)
      const run = yield* ended(runId)
      assert.deepInclude(run, { status: "succeeded", published: true }, run.failure?.message)
      assert.isBelow((source.bytes() - before) / run.progress.bytesFetched, 1.1)
    })
  )
})

layer(stack, { excludeTestServices: true, timeout: "120 seconds" })("A database that is not as it must be", (it) => {
  it.effect("is told in the run with the words of Postgres: a column that was renamed", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`ALTER TABLE public.products RENAME COLUMN line_hash TO lh`
      const run = yield* sync()
      yield* sql`ALTER TABLE public.products RENAME COLUMN lh TO line_hash`
      assert.deepInclude(run, { status: "failed", published: false })
      assert.strictEqual(run.failure?.message, 'SqlSyntaxError: column "line_hash" does not exist')
      assert.deepInclude(yield* sync(), { status: "succeeded" })
    })
  )

  it.effect("is told to who asks for a sync when it takes no changes, and notified once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { told } = yield* Outages
      const before = told.length
      const anew = sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'medipim-%'`
      yield* sql`ALTER DATABASE postgres SET default_transaction_read_only = on`
      yield* anew
      const client = yield* OrchestratorClient
      const refused = yield* Effect.flip(client.sync({ payload: {} })).pipe(
        Effect.repeat({
          until: ({ message }) => message.startsWith("ReadOnly"),
          schedule: Schedule.spaced("200 millis")
        }),
        Effect.timeout("20 seconds")
      )
      assert.strictEqual(refused._tag, "Unavailable")
      assert.match(refused.message, /^ReadOnly: cannot execute INSERT in a read-only transaction/)
      assert.strictEqual((yield* Effect.flip(client.sync({ payload: {} })))._tag, "Unavailable")
      yield* Effect.sync(() => told.length).pipe(
        Effect.repeat({ until: (n) => n > before, schedule: Schedule.spaced("50 millis") }),
        Effect.timeout("10 seconds")
      )
      yield* Effect.sleep("500 millis")
      const [notification, ...others] = told.slice(before)
      assert.lengthOf(others, 0)
      assert.isNull(notification?.run)
      assert.match(notification?.text ?? "", /^MediPim AU Sync: the sync due at 20.*Z cannot begin: /)
      yield* sql`ALTER DATABASE postgres RESET default_transaction_read_only`
      yield* anew
      const run = yield* sync().pipe(Effect.retry({ schedule: Schedule.spaced("1 second"), times: 30 }))
      assert.deepInclude(run, { status: "succeeded" })
    })
  )
})
