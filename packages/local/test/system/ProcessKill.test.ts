import { spawn } from "node:child_process"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { MaintainerClient, OrchestratorClient } from "@medipim/http-api/Clients"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { dailyAt } from "@medipim/testing/DailyCron"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type Program, start } from "../../src/Program.ts"
import { root } from "../../src/Workspace.ts"
import { programsIn } from "./Programs.ts"
import { adminKey, ended } from "./TestStack.ts"

const products = 300
/** After its start a process is killed so many milliseconds later: before, while and after it looks at the schedule. */
const lifetimes = [500, 700, 800, 900, 1000, 1100, 1200, 1500, 2000]

const database = Migrations.layer.pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 3 }, "test"))
    )
  ),
  Layer.provideMerge([TestDatabase.layer, NodeHttpClient.layerUndici])
)

const stack = Effect.gen(function* () {
  const { on, dir, program, addressOf } = yield* programsIn("killed", products)
  const clients = yield* Layer.build(
    Layer.merge(OrchestratorClient.layer(addressOf("orchestrator")), MaintainerClient.layer(addressOf("maintainer")))
  )
  return { on, clients, program, dir }
})

/** Starts a program that is killed when the scope closes, as a machine kills it: at once, whatever it is doing. */
const mortal = ({ file, env }: Program) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--conditions=medipim-source", join(root, file)], {
        stdio: "ignore",
        env: { ...env, PATH: process.env.PATH }
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void)).kill("SIGKILL")
      })
  )

const ready = ({ readyUrl }: Program) =>
  Effect.tryPromise(() => fetch(readyUrl)).pipe(
    Effect.filterOrFail(({ ok }) => ok),
    Effect.retry(Schedule.spaced("50 millis"))
  )

layer(database, { excludeTestServices: true, timeout: "60 seconds" })("SIGKILL", (it) => {
  it.effect("in the middle of a replay leaves nothing of it, and the next one does it once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { on, clients, program, dir } = yield* stack
      for (const name of ["simulator", "fetcher", "orchestrator"] as const) yield* start(program(name), dir)
      const life = yield* Scope.make()
      yield* Effect.addFinalizer(() => Scope.close(life, Exit.void))
      yield* mortal(program("maintainer")).pipe(Scope.provide(life))
      yield* ready(program("maintainer"))
      yield* Effect.promise(() =>
        fetch(`http://localhost:${on.simulator.port}/control/faults`, {
          method: "POST",
          body: JSON.stringify({ fault: "undecodable", at: 7 })
        })
      )
      yield* Effect.gen(function* () {
        const orchestrator = yield* OrchestratorClient
        const maintainer = yield* MaintainerClient
        const { runId } = yield* orchestrator.sync({ payload: {} })
        assert.deepInclude((yield* ended(runId)).progress, { rejected: 1, inserted: products - 1 })
        // The rules have learned to read it.
        yield* sql`UPDATE medipim.rejected_records
          SET raw = convert_to(replace(convert_from(raw, 'UTF8'), '\\u0000', ''), 'UTF8'), line_bytes = NULL`

        const letGo = yield* Deferred.make<void>()
        const lock = sql`LOCK TABLE public.products IN SHARE MODE`
        const holding = yield* Effect.forkChild(sql.withTransaction(Effect.andThen(lock, Deferred.await(letGo))))
        const replaying = yield* Effect.forkChild(Effect.exit(maintainer.replay({ payload: {} })))
        yield* sql`SELECT FROM pg_locks WHERE relation = 'public.products'::regclass AND NOT granted`.pipe(
          Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("20 millis") })
        )
        yield* Scope.close(life, Exit.void)
        yield* Deferred.succeed(letGo, undefined)
        yield* Fiber.join(holding)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(replaying)))
        // The server notices that its client is gone when it wants to answer.
        yield* sql`SELECT FROM pg_stat_activity WHERE application_name = 'medipim-maintainer'`.pipe(
          Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("50 millis") })
        )
        const left = sql<{ readonly products: number; readonly replays: number; readonly waiting: number }>`
          SELECT (SELECT count(*)::int FROM public.products) AS products,
            (SELECT count(*)::int FROM medipim.sync_runs WHERE mode = 'replay') AS replays,
            (SELECT count(*)::int FROM medipim.rejected_records WHERE replayed_by IS NULL) AS waiting`
        assert.deepStrictEqual(yield* left, [{ products: products - 1, replays: 0, waiting: 1 }])

        yield* start(program("maintainer"), dir)
        assert.strictEqual((yield* maintainer.replay({ payload: {} })).replayed, 1)
        assert.strictEqual((yield* maintainer.replay({ payload: {} })).replayed, 0)
        assert.deepStrictEqual(yield* left, [{ products, replays: 1, waiting: 0 }])
      }).pipe(Effect.provideContext(clients))
    })
  )

  it.effect("at any moment around a scheduled start loses no sync and starts none twice", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`DELETE FROM medipim.sync_runs`
      const { clients, program, dir } = yield* stack
      const cron = dailyAt((yield* Clock.currentTimeMillis) - 3 * 60 * 60 * 1000)
      yield* sql`INSERT INTO medipim.sync_schedule (cron, timezone, handled_until)
        VALUES (${cron}, 'UTC', now() - interval '1 day')`
      // It refuses the key of the orchestrator, so that a run ends soon: a second one would have room.
      yield* start(program("fetcher", { ADMIN_KEY: adminKey.toUpperCase() }), dir)
      const orchestrator = program("orchestrator", { SYNC_CRON: cron, SYNC_TIMEZONE: "UTC" })
      for (const lifetime of lifetimes) {
        yield* Effect.scoped(Effect.andThen(mortal(orchestrator), Effect.sleep(lifetime)))
      }
      yield* start(orchestrator, dir)
      const client = Context.get(clients, OrchestratorClient)
      const { runs } = yield* client.runs({ query: {} }).pipe(
        Effect.repeat({
          until: ({ runs }) => runs.length > 0 && runs.every(({ status }) => status !== "running"),
          schedule: Schedule.spaced("100 millis")
        })
      )
      assert.deepStrictEqual(
        runs.map(({ status, failure }) => [status, failure?.code]),
        [["failed", "Unauthorized"]]
      )
    })
  )
})
