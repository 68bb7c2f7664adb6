import { readFileSync } from "node:fs"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Clock, Context, Effect, Exit, Layer, Schedule, Scope } from "effect"
import { type ProgramFailed, start } from "../../src/Program.ts"
import { programsIn } from "./Programs.ts"
import { sync } from "./TestStack.ts"

const products = 300

/** The whole system, whose orchestrator can be started again; the folder has the log of each program. */
const make = Effect.gen(function* () {
  const { on, dir, program, addressOf } = yield* programsIn("observed", products)
  for (const name of ["simulator", "fetcher", "maintainer"] as const) yield* start(program(name), dir)
  let life = yield* Scope.make()
  const begin = Effect.gen(function* () {
    life = yield* Scope.make()
    yield* start(program("orchestrator"), dir).pipe(Scope.provide(life))
  })
  const end = Effect.suspend(() => Scope.close(life, Exit.void))
  yield* begin
  yield* Effect.addFinalizer(() => end)
  const clients = yield* Layer.build(OrchestratorClient.layer(addressOf("orchestrator")))
  const metric = (name: string) =>
    Effect.promise(async () => {
      // Each service has a port of its own.
      const text = await (await fetch(`http://localhost:${on.metrics.port + 2}/metrics`)).text()
      const line = text.split("\n").find((one) => one.startsWith(`${name} `))
      return Number(line?.slice(name.length))
    })
  return Context.add(clients, Observed, { dir, metric, restart: Effect.andThen(end, begin) })
})

class Observed extends Context.Service<
  Observed,
  {
    readonly dir: string
    /** Of the orchestrator; NaN when it is not there. */
    readonly metric: (name: string) => Effect.Effect<number>
    readonly restart: Effect.Effect<void, ProgramFailed>
  }
>()("local/test/Observed") {}

const stack = Layer.effectContext(make).pipe(Layer.provide([TestDatabase.layer, NodeHttpClient.layerUndici]))

interface Line {
  readonly message: string | ReadonlyArray<unknown>
  readonly annotations: Readonly<Record<string, unknown>>
}

layer(stack, { excludeTestServices: true, timeout: "120 seconds" })("The whole system", (it) => {
  it.effect("says in its metrics when it last succeeded, and what the last run did", () =>
    Effect.gen(function* () {
      const { metric, restart } = yield* Observed
      /** The figures are sampled every ten seconds. */
      const settles = (name: string, isRight: (value: number) => boolean) =>
        metric(name).pipe(
          Effect.repeat({ until: isRight, schedule: Schedule.spaced("200 millis") }),
          Effect.timeout("25 seconds")
        )
      const before = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const { startTime, endTime } = yield* sync()
      yield* settles("medipim_last_run_end_timestamp_seconds", (end) => end === Date.parse(endTime ?? "") / 1000)
      assert.strictEqual(yield* metric("medipim_last_run_succeeded"), 1)
      assert.strictEqual(yield* metric("medipim_run_active"), 0)
      assert.strictEqual(yield* metric("medipim_catalogue_fresh"), 1)
      const took = (Date.parse(endTime ?? "") - Date.parse(startTime)) / 1000
      assert.approximately(yield* metric("medipim_last_run_duration_seconds"), took, 0.001)
      assert.strictEqual(yield* metric('medipim_last_run_records{outcome="inserted"}'), products)
      const succeeded = yield* metric("medipim_last_success_timestamp_seconds")
      assert.isAtLeast(succeeded, before)
      // A failure is seen, and does not move the last success.
      assert.strictEqual((yield* sync({ offset: 1_000_000 })).status, "failed")
      yield* settles("medipim_last_run_succeeded", (value) => value === 0)
      assert.strictEqual(yield* metric("medipim_last_success_timestamp_seconds"), succeeded)
      // A process that has just been started knows both.
      yield* restart
      yield* settles("medipim_last_success_timestamp_seconds", (value) => value === succeeded)
      yield* settles("medipim_last_run_succeeded", (value) => value === 0)
    })
  )

  it.effect("logs the begin and the end of a run, and names the run or its snapshot on every line", () =>
    Effect.gen(function* () {
      const { dir } = yield* Observed
      const { runId, snapshotId } = yield* sync({ forceRefresh: true })
      const linesOf = (name: string) =>
        readFileSync(`${dir}/${name}.log`, "utf8")
          .split("\n")
          // What is behind the last line end is being written.
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Line)
      const of = (name: string, annotation: "runId" | "snapshotId", id: string | null) =>
        linesOf(name)
          .filter(({ annotations }) => annotations[annotation] === id)
          .map(({ message }) => (typeof message === "string" ? message : String(message[0])))
      assert.include(
        linesOf("orchestrator").map(({ message }) => (typeof message === "string" ? message : message[0])),
        `Sync ${runId} starts`
      )
      // The row says so first, and the caller may be faster than the log.
      const end = new RegExp(`^Sync ${runId} succeeded, \\d+ records: `)
      yield* Effect.sync(() => of("orchestrator", "runId", runId)).pipe(
        Effect.repeat({
          until: (said) => said.some((text) => end.test(text)),
          schedule: Schedule.spaced("100 millis")
        }),
        Effect.timeout("20 seconds")
      )
      assert.match(
        of("fetcher", "snapshotId", snapshotId).join("\n"),
        /^The snapshot is complete: \d+ records, \d+ bytes$/m
      )
      assert.match(of("maintainer", "runId", runId).join("\n"), /^Staged \d+ records from 0 on$/m)
      assert.include(of("maintainer", "runId", runId), "Published")

      const failed = yield* sync({ offset: 1_000_000 })
      assert.include(
        of("orchestrator", "runId", failed.runId),
        `Sync ${failed.runId} failed: ${failed.failure?.code}: ${failed.failure?.message}`
      )
    })
  )
})
