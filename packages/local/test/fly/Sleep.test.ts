import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import * as Postgres from "@medipim/platform/database/Postgres"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Deferred, Effect, Fiber, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { start } from "../../src/Program.ts"
import { machine } from "../system/Machine.ts"
import { programsIn } from "../system/Programs.ts"
import { ended } from "../system/TestStack.ts"

/** `IDLE_SHUTDOWN`; the jobs of the second test take longer. */
const idle = 2000
const products = 600
/** The download takes six times as long. */
const drip = { at: 0, delayMs: (6 * idle) / products }

const make = Effect.gen(function* () {
  const { on, dir, url, program, addressOf } = yield* programsIn("sleep", products)
  const sleeps = { IDLE_SHUTDOWN: `${idle} millis` }
  const fetcher = yield* machine(program("fetcher", sleeps), dir)
  const maintainer = yield* machine(program("maintainer", sleeps), dir)
  const wakes = { FETCHER_WAKE_URL: fetcher.url, MAINTAINER_WAKE_URL: maintainer.url }
  yield* start(program("simulator"), dir)
  yield* start(program("orchestrator", wakes), dir)
  const faults = (fault: unknown) =>
    Effect.promise(() =>
      fetch(`http://localhost:${on.simulator.port}/control/faults`, { method: "POST", body: JSON.stringify(fault) })
    )
  /** Asked in a way that keeps nobody awake. */
  const listens = (name: "fetcher" | "maintainer") =>
    Effect.promise(() =>
      fetch(`http://localhost:${on[name].port}/healthz`).then(
        ({ ok }) => ok,
        () => false
      )
    )
  /** Requests without a key, as monitors and strangers send them. */
  const strangers = Effect.forEach(["fetcher", "maintainer"] as const, (name) =>
    Effect.forEach(["/healthz", "/healthz?", "//HEALTHZ/", "/readyz", "/docs", "/openapi.json", "/nowhere"], (path) =>
      Effect.promise(() =>
        fetch(`http://localhost:${on[name].port}${path}`).then(
          (answer) => answer.arrayBuffer(),
          () => undefined
        )
      )
    )
  )
  return { fetcher, maintainer, faults, listens, strangers, address: addressOf("orchestrator"), url }
})

class Fly extends Context.Service<Fly, Effect.Success<typeof make>>()("local/test/Fly") {
  static readonly layer = Layer.unwrap(
    Effect.map(make, (fly) =>
      Layer.mergeAll(
        Layer.succeed(Fly, fly),
        OrchestratorClient.layer(fly.address),
        Postgres.layer({ databaseUrl: fly.url, databaseConnections: 2 }, "test")
      )
    )
  ).pipe(Layer.provide([TestDatabase.layer, NodeHttpClient.layerUndici]))
}

const sync = Effect.gen(function* () {
  const client = yield* OrchestratorClient
  return yield* client.sync({ payload: { forceRefresh: true } })
})

/** Waits until the fetcher was woken and downloads for the run. */
const fetches = Effect.fnUntraced(function* (id: string) {
  const client = yield* OrchestratorClient
  yield* client.run({ params: { id } }).pipe(
    Effect.repeat({
      until: (run) => run.phase === "fetching" && run.progress.recordsFetched > 0,
      schedule: Schedule.spaced("50 millis")
    })
  )
})

/** Waits until the maintainer was woken and wants to stage, which a lock keeps it from. */
const stages = Effect.flatMap(SqlClient, (sql) =>
  sql`SELECT FROM pg_locks WHERE relation = 'medipim.stage_products'::regclass AND NOT granted`.pipe(
    Effect.repeat({ until: (waiting) => waiting.length > 0, schedule: Schedule.spaced("50 millis") })
  )
)

layer(Fly.layer, { excludeTestServices: true, timeout: "60 seconds" })("Services that sleep", (it) => {
  it.effect(
    "end with 0 when they have nothing to do, whatever strangers ask, and are woken by the sync that needs them",
    () =>
      Effect.gen(function* () {
        const { fetcher, maintainer, strangers } = yield* Fly
        yield* Effect.all([fetcher.wake, maintainer.wake], { concurrency: 2 })
        const asking = yield* strangers.pipe(Effect.repeat(Schedule.spaced("100 millis")), Effect.forkChild)
        yield* Effect.all([fetcher.asleep, maintainer.asleep])
        yield* Fiber.interrupt(asking)
        assert.deepStrictEqual(
          [...fetcher.ends(), ...maintainer.ends()],
          ["The fetcher-0 ended with code 0. Its log ends:", "The maintainer-0 ended with code 0. Its log ends:"]
        )
        const { runId } = yield* sync
        const run = yield* ended(runId)
        assert.deepInclude(run, { status: "succeeded", failure: null })
        assert.strictEqual(run.progress.inserted, products)
        assert.strictEqual(maintainer.starts(), 2)
        // Once more when it has gone to sleep before old snapshots are removed.
        assert.include([2, 3], fetcher.starts())
      })
  )

  it.effect("never end in the middle of a job, however long it is and however little it says", () =>
    Effect.gen(function* () {
      const { fetcher, maintainer, faults, listens } = yield* Fly
      const sql = yield* SqlClient
      yield* Effect.all([fetcher.asleep, maintainer.asleep])
      const before = [fetcher.starts(), maintainer.starts()] as const
      yield* faults({ fault: "slow-drip", ...drip })
      yield* sql`DELETE FROM public.products`
      const letGo = yield* Deferred.make<void>()
      const lock = sql`LOCK TABLE medipim.stage_products IN SHARE MODE`
      const holding = yield* sql.withTransaction(Effect.andThen(lock, Deferred.await(letGo))).pipe(Effect.forkChild)
      const { runId } = yield* sync
      // Who is about to end listens no more, though the job that it has might still come to its end.
      yield* fetches(runId)
      yield* Effect.sleep(2 * idle)
      assert.isTrue(yield* listens("fetcher"))
      yield* stages
      yield* Effect.sleep(2 * idle)
      assert.isTrue(yield* listens("maintainer"))
      yield* Deferred.succeed(letGo, undefined)
      const run = yield* ended(runId)
      yield* Fiber.join(holding)
      assert.deepInclude(run, { status: "succeeded", failure: null })
      assert.strictEqual(maintainer.starts(), before[1] + 1)
      assert.include([before[0] + 1, before[0] + 2], fetcher.starts())
      yield* Effect.all([fetcher.asleep, maintainer.asleep])
      for (const end of [...fetcher.ends(), ...maintainer.ends()]) assert.match(end, /ended with code 0\./)
    })
  )
})
