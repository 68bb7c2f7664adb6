import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import * as Postgres from "@medipim/platform/database/Postgres"
import { diceOf } from "@medipim/testing/Dice"
import { seed, series } from "@medipim/testing/Randomness"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { start } from "../../src/Program.ts"
import { moveClock, withClockFile, writeClock } from "./ClockFile.ts"
import { programsIn } from "./Programs.ts"
import { ended } from "./TestStack.ts"

const products = 200
const steps = series(8, 24)
const DAY = 24 * 60 * 60 * 1000

const programs = ["simulator", "fetcher", "maintainer", "orchestrator"] as const
type Name = (typeof programs)[number]

/** The whole system, each process with a clock of its own. */
const make = Effect.gen(function* () {
  const { on, dir, program, addressOf } = yield* programsIn("clocks", products)
  mkdirSync(join(dir, "clocks"))
  const clockOf = (name: Name) => join(dir, "clocks", name)
  const setClock = (name: Name, error: number) => moveClock(clockOf(name), error)
  yield* Effect.forEach(
    programs,
    (name) => Effect.andThen(writeClock(clockOf(name), 0), start(program(name, withClockFile(clockOf(name))), dir)),
    { concurrency: programs.length }
  )
  const url = `http://localhost:${on.simulator.port}`
  const control = (path: string, body: unknown) =>
    Effect.promise(async () => {
      const answer = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) })
      return (await answer.json()) as Record<string, ReadonlyArray<string>>
    })
  /** What the source has now, as far as a row shows it. */
  const source = Effect.promise(async () => {
    const answer = await fetch(`${url}/v4/products/stream`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa("1:simulator-secret-of-no-value")}` },
      body: JSON.stringify({ filter: { status: ["active", "inactive", "replaced"] }, sorting: { createdAt: "ASC" } })
    })
    const lines = (await answer.text()).split("\n").filter((line) => line !== "")
    const found = lines.map((line) => JSON.parse(line).result as Product)
    return new Map(found.map(({ id, status, meta }) => [id, `${status} ${meta.updatedAt}`]))
  })
  const clients = yield* Layer.build(
    Layer.merge(OrchestratorClient.layer(addressOf("orchestrator")), FetcherClient.layer(addressOf("fetcher")))
  )
  return Context.add(clients, Clocks, { setClock, control, source })
})

interface Product {
  readonly id: string
  readonly status: string
  readonly meta: { readonly updatedAt: number }
}

class Clocks extends Context.Service<
  Clocks,
  {
    readonly setClock: (name: Name, error: number) => Effect.Effect<void>
    readonly control: (path: string, body: unknown) => Effect.Effect<Record<string, ReadonlyArray<string>>>
    readonly source: Effect.Effect<ReadonlyMap<string, string>>
  }
>()("local/test/Clocks") {}

const stack = Layer.effectContext(make).pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(TestDatabase, ({ url }) => Postgres.layer({ databaseUrl: url, databaseConnections: 3 }, "test"))
    )
  ),
  Layer.provide([TestDatabase.layer, NodeHttpClient.layerUndici])
)

/** The products that are there, as far as a row shows them. */
const catalogue = Effect.gen(function* () {
  const sql = yield* SqlClient
  const rows = yield* sql<{ readonly id: string; readonly shown: string }>`
    SELECT id, status || ' ' || (raw -> 'meta' ->> 'updatedAt') AS shown FROM public.products WHERE removed_at IS NULL`
  return new Map(rows.map(({ id, shown }) => [id, shown]))
})

const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))

const sync = Effect.fnUntraced(function* (
  payload: Parameters<OrchestratorClient["Service"]["sync"]>[0]["payload"] = {}
) {
  const { runId } = yield* (yield* OrchestratorClient).sync({ payload })
  const run = yield* ended(runId)
  assert.strictEqual(run.status, "succeeded", run.failure?.message)
  return run
})

layer(stack, { excludeTestServices: true, timeout: "120 seconds" })("Wrong clocks", (it) => {
  it.effect("switch no removal off: one run from two days ahead does not stand before the next ones", () =>
    Effect.gen(function* () {
      const { setClock, control, source } = yield* Clocks
      yield* setClock("orchestrator", 2 * DAY)
      const ahead = yield* sync()
      yield* setClock("orchestrator", 0)
      const { removed } = yield* control("/control/changes", { remove: 1 })
      const run = yield* sync()
      assert.isTrue(ahead.runId > run.runId, "the name of the run before is of the future")
      assert.deepInclude(run.progress, { removed: 1, errors: [] })
      assert.isFalse((yield* catalogue).has(removed?.[0] ?? ""))
      // The newest snapshot is the one that was published last, not the one with the latest name.
      yield* control("/control/changes", { add: 2, update: 5 })
      const newest = yield* sync()
      const again = yield* sync({ mode: "maintain-only" })
      assert.strictEqual(again.snapshotId, newest.snapshotId)
      assert.deepInclude(again.progress, { removed: 0, updated: 0, unchanged: products + 1 })
      assert.deepStrictEqual(sorted(yield* catalogue), sorted(yield* source))
      const status = yield* (yield* OrchestratorClient).status()
      assert.deepInclude(status, { stale: false, lastRun: status.lastRun })
      assert.strictEqual(status.lastRun?.runId, again.runId)
    })
  )

  it.effect(
    `change nothing in ${steps} steps in which each of them jumps by days, both ways`,
    () =>
      Effect.gen(function* () {
        const { setClock, control, source } = yield* Clocks
        const orchestrator = yield* OrchestratorClient
        const fetcher = yield* FetcherClient
        const dice = diceOf(seed, "clocks")
        /** What the source had when a snapshot was fetched, newest last. */
        let fetched: ReadonlyMap<string, string> = yield* source
        let published: ReadonlyMap<string, string> = yield* catalogue
        for (let step = 0; step < steps; step++) {
          const at = `MEDIPIM_RANDOM_SEED=${seed}, step ${step}`
          for (const name of programs) yield* setClock(name, dice.int(-3, 3) * DAY)
          yield* control("/control/changes", { update: dice.int(0, 9), remove: dice.int(0, 3), add: dice.int(0, 3) })
          const mode = (["full", "full", "fetch-only", "maintain-only"] as const)[dice.int(0, 3)] ?? "full"
          const run = yield* sync(mode === "full" ? { mode, forceRefresh: true } : { mode })
          if (mode !== "maintain-only") fetched = yield* source
          if (mode !== "fetch-only") published = fetched
          assert.deepStrictEqual(sorted(yield* catalogue), sorted(published), `${at}: ${mode}`)
          assert.strictEqual(run.progress.stale, 0, at)
          const status = yield* orchestrator.status()
          assert.isFalse(status.stale, at)
          assert.strictEqual(status.lastRun?.runId, run.runId, at)
          assert.strictEqual((yield* orchestrator.runs({ query: { limit: 1 } })).runs[0]?.runId, run.runId, at)
          // They go once the run has ended.
          yield* fetcher.snapshots().pipe(
            Effect.repeat({
              until: ({ snapshots }) => snapshots.length <= 7,
              schedule: Schedule.spaced("50 millis")
            }),
            Effect.timeout("10 seconds")
          )
        }
      }),
    180_000
  )
})
