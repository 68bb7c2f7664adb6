import { isDeepStrictEqual } from "node:util"
import { diceOf } from "@medipim/testing/Dice"
import { Effect, Exit, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { spoil, toSpoil } from "../cases/CorruptLine.ts"
import { type Case, type Outcome, post } from "./Case.ts"
import { Environment, type Notification } from "./Environment.ts"
import { changesOf, differing, keeping, kinds, published, stored, type Table } from "./ExpectedTable.ts"
import { abandonWithin, chunkSize, endWithin, reachWithin, settleWithin, strikeWithin } from "./Figures.ts"

type Ended = Notification["run"]

export interface Played {
  readonly status: string
  readonly violations: ReadonlyArray<string>
  /** From the fault to the end of the run, in milliseconds. */
  readonly recovery: number
  readonly table: Table
}

export const endOf = Effect.fnUntraced(function* (runId: string, within: number = endWithin) {
  const sql = yield* SqlClient
  const [run] = yield* sql<Ended>`SELECT status, failure, progress FROM medipim.sync_runs WHERE id = ${runId}`.pipe(
    // A database that is being crashed does not answer.
    Effect.retry({ schedule: Schedule.spaced("200 millis"), times: 100 }),
    Effect.repeat({
      until: ([row]) => row !== undefined && row.status !== "running",
      schedule: Schedule.spaced("50 millis")
    }),
    Effect.timeoutOrElse({ duration: within, orElse: () => Effect.fail(`the run did not end in ${within} ms`) })
  )
  return run ?? (yield* Effect.fail("the run is not there"))
})

/** The engine leaves an interrupt unprocessed whose request has ended by itself; it is of no consequence. */
const request = 0

/** Waits until nothing works on the run any more: its record may say sooner that it is over. */
const settled = Effect.gen(function* () {
  const sql = yield* SqlClient
  const open = sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM medipim.cluster_messages
    WHERE NOT processed AND kind = ${request}`
  yield* open.pipe(
    Effect.repeat({ until: ([row]) => row?.n === 0, schedule: Schedule.spaced("50 millis") }),
    Effect.timeoutOrElse({ duration: settleWithin, orElse: () => Effect.fail("the workflow of the run did not end") })
  )
})

/** Codes of runs of which nobody knows why they failed. */
const unexplained = new Set(["Defect", "Lost"])
/** Characters; nobody can act on less. */
const shortestReason = 20

const hasReason = (run: Ended): boolean =>
  run.failure !== null && !unexplained.has(run.failure.code) && run.failure.message.length >= shortestReason

const nameOf = (outcome: Outcome): string => (typeof outcome === "string" ? outcome : `failed with ${outcome.failed}`)
const endingOf = ({ status, failure }: Ended): string => (status === "failed" ? `failed with ${failure?.code}` : status)

/** What a notification and the record of the run have in common. */
const gist = ({ status, failure, progress }: Ended) => ({
  status,
  failure,
  counts: [...kinds, "rejected" as const].map((kind) => progress[kind])
})

/** What may come of a run. */
interface Due {
  readonly before: Table
  /** Each product is as in one of these, if the run succeeded. */
  readonly after: ReadonlyArray<Table>
  /** Products whose line cannot be decoded: the first of the stream, or none. */
  readonly rejected: ReadonlyArray<string>
}

/** What the end of a run has to be, seen from outside. */
export const inspect = Effect.fnUntraced(function* (runId: string, run: Ended, { before, after, rejected }: Due) {
  const sql = yield* SqlClient
  const { heard } = yield* Environment
  yield* settled
  const table = yield* stored
  const found: Array<string> = []
  const wrong = differing(table, ...(run.status === "succeeded" ? after : [before]))
  if (wrong.length > 0) {
    const notes = run.progress.errors.join(" ")
    found.push(`${run.status}, but ${wrong.length} products are not as they must be: ${wrong[0]}. Its notes: ${notes}`)
  }
  const rows = yield* sql<{ readonly change: string; readonly id: string }>`
    SELECT change, product_id AS id FROM medipim.product_changes WHERE run_id = ${runId}`
  const history = rows.map(({ change, id }) => `${change} ${id}`)
  const changed = changesOf(before, table)
  if (history.sort().join() !== changed.toSorted().join()) {
    found.push(`the history tells ${history.length} changes of ${changed.length}, or others`)
  }
  for (const kind of run.status === "succeeded" ? kinds : []) {
    const count = history.filter((change) => change.startsWith(kind)).length
    if (run.progress[kind] !== count) found.push(`${run.progress[kind]} ${kind} where the history has ${count}`)
  }
  if (run.status === "succeeded") {
    const lines = yield* sql<{ readonly record: number; readonly id: string | null }>`
      SELECT record, product_id AS id FROM medipim.rejected_records WHERE run_id = ${runId}`
    const due = rejected.map((id, record) => ({ record, id }))
    if (!isDeepStrictEqual(lines, due)) found.push(`rejected are ${JSON.stringify(lines)}, not ${JSON.stringify(due)}`)
    if (run.progress.rejected !== due.length) found.push(`${run.progress.rejected} rejected, not ${due.length}`)
  }
  if (run.status === "failed" && !hasReason(run)) found.push(`failed without a reason: ${JSON.stringify(run.failure)}`)
  // Nobody is told of a run that somebody has stopped.
  const told = heard.filter(({ key }) => key === runId)
  if (told.length > 0 === (run.status === "cancelled")) found.push("told where it should not be, or not told")
  for (const one of told) {
    if (!isDeepStrictEqual(gist(one.run), gist(run))) found.push(`told ${JSON.stringify(gist(one.run))}`)
  }
  const [left] = yield* sql<{ readonly n: number }>`
    SELECT count(*)::int AS n FROM medipim.sync_runs WHERE status = 'running'`
  if (left?.n !== 0) found.push("a run is left running")
  return { table, found }
})

/** A day in the life of the catalogue, which keeps its size: what is removed makes room for what is new or comes back. */
export const change = Effect.fnUntraced(function* (name: string, seed: number, before: Table) {
  const { control } = yield* Environment
  const dice = diceOf(seed, name)
  const gone = [...before].filter(([, { removed }]) => removed).map(([id]) => id)
  const from = dice.int(0, gone.length)
  const back = gone.slice(from, from + dice.int(0, 8))
  yield* control("POST /control/changes", {
    update: dice.int(5, 40),
    add: dice.int(0, 4),
    remove: dice.int(0, 8),
    deactivate: dice.int(0, 8),
    // Some come back as they were, some changed.
    ids: { restore: back, update: back.slice(dice.int(0, 4)) }
  })
  return dice
})

/** One sync in which something goes wrong; what cannot even be played is a violation too. */
export const play = (one: Case, seed: number, left: Table) =>
  Effect.gen(function* () {
    const { control } = yield* Environment
    const before = one.earlier === undefined ? left : yield* Effect.andThen(one.earlier, stored)
    const dice = yield* change(one.name, seed, before)
    const rejected = yield* toSpoil(one, dice)
    const after = keeping(rejected, before, yield* published(before))
    if (rejected.length > 0) yield* spoil
    const armed = yield* one.begin(dice)
    // A case that fails half way leaves no trap to the next one.
    yield* Effect.addFinalizer((exit) => (Exit.isFailure(exit) ? armed.open : Effect.void))
    const { body, status } = yield* post("/sync", { forceRefresh: true, chunkSize })
    if (status !== 202) return yield* Effect.fail(`POST /sync answered ${status}`)
    yield* armed.sprung.pipe(
      Effect.timeoutOrElse({ duration: reachWithin, orElse: () => Effect.fail("the place was never reached") })
    )
    if (one.unseen === true && differing(yield* stored, before).length > 0) {
      return yield* Effect.fail("readers see half a publish")
    }
    const from = performance.now()
    if (one.strike !== undefined) {
      yield* one.strike(body.runId, armed).pipe(
        Effect.timeoutOrElse({
          duration: strikeWithin + (one.lasts ?? 0),
          orElse: () => Effect.fail("the fault never came about")
        })
      )
    }
    yield* armed.open
    if (one.mend !== undefined) yield* one.mend
    const run = yield* endOf(body.runId)
    const recovery = performance.now() - from
    // The armed rest of a fault that was to last.
    yield* control("DELETE /control/faults")
    const allowed = one.changing === true ? [after, yield* published(before)] : [after]
    const { table, found } = yield* inspect(body.runId, run, { before, after: allowed, rejected })
    if (armed.complaints !== undefined) found.push(...(yield* armed.complaints))
    if (one.demands !== undefined) found.push(...(yield* one.demands(body.runId)))
    const due = nameOf(one.outcome)
    if (endingOf(run) !== due) found.push(`${endingOf(run)} where ${due} was due: ${run.failure?.message}`)
    return { status: run.status, violations: found, recovery, table } satisfies Played
  }).pipe(Effect.scoped)

/** Ends what a case that could not be played to its end has left behind, so that it does not fail the cases after it. */
export const abandon = Effect.gen(function* () {
  const { control, kill } = yield* Environment
  const sql = yield* SqlClient
  yield* control("DELETE /control/faults")
  yield* kill("second")
  const left = yield* sql<{ readonly id: string }>`SELECT id FROM medipim.sync_runs WHERE status = 'running'`
  for (const { id } of left) {
    yield* post(`/runs/${id}/cancel`)
    yield* endOf(id, abandonWithin)
  }
})
