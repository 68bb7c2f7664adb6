import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { locked, post } from "../harness/Case.ts"
import { change, endOf, inspect } from "../harness/CaseRunner.ts"
import { Environment } from "../harness/Environment.ts"
import { published, type Table } from "../harness/ExpectedTable.ts"
import { callers, chunkSize, reachWithin } from "../harness/Figures.ts"

/** The first has the lock of the runner, and the second stands by. */
export const pairs = [
  { name: "two orchestrators, the first is killed", victim: "orchestrator" },
  { name: "two orchestrators, the standby is killed", victim: "second" }
] as const

/** Many callers at once, two orchestrators on one database, and one of them is killed in the middle. */
export const rivals = (name: string, victim: "orchestrator" | "second", seed: number, before: Table) =>
  Effect.gen(function* () {
    const { kill, launch } = yield* Environment
    const sql = yield* SqlClient
    yield* launch("second")
    const dice = yield* change(name, seed, before)
    const after = yield* published(before)
    const armed = yield* locked("medipim.stage_products")(dice)
    const answers = yield* Effect.forEach(
      Array.from({ length: callers }, (_, n) => (n % 2 === 0 ? 0 : 1) as 0 | 1),
      (orchestrator) => post("/sync", { forceRefresh: true, chunkSize }, orchestrator),
      { concurrency: callers }
    )
    const found: Array<string> = []
    const count = (status: number) => answers.filter((answer) => answer.status === status).length
    if (count(202) !== 1 || count(409) !== callers - 1) found.push(`${count(202)} runs and ${count(409)} refusals`)
    const [runId = "", ...others] = new Set(answers.map(({ body }) => body.runId))
    if (others.length > 0) found.push("the answers name different runs")
    // Of many runs there is none to follow.
    if (found.length > 0) return yield* Effect.fail(found.join(", "))
    yield* armed.sprung.pipe(
      Effect.timeoutOrElse({ duration: reachWithin, orElse: () => Effect.fail("the place was never reached") })
    )
    const from = performance.now()
    yield* kill(victim)
    yield* armed.open
    const run = yield* endOf(runId)
    const recovery = performance.now() - from
    const inspected = yield* inspect(runId, run, { before, after: [after], rejected: [] })
    if (run.status !== "succeeded") found.push(`${run.status}: ${run.failure?.message}`)
    // In this order: the first has to have the lock again before there is a second.
    yield* kill("second")
    if (victim === "orchestrator") yield* launch(victim)
    const [rows] = yield* sql<{ readonly n: number }>`
      SELECT count(*)::int AS n FROM medipim.product_changes WHERE run_id = ${runId}
      GROUP BY product_id ORDER BY 1 DESC LIMIT 1`
    if (rows !== undefined && rows.n > 1) found.push("a change was written twice")
    return { status: run.status, violations: [...found, ...inspected.found], recovery, table: inspected.table }
  }).pipe(Effect.scoped)
