import { Effect, Fiber, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterBytes } from "../harness/ByteOffset.ts"
import { type Case, locked, post, trapped } from "../harness/Case.ts"
import { thriftily } from "../harness/DownloadRatio.ts"
import { Environment, type ServiceName } from "../harness/Environment.ts"
import { cancelWithin, stopWithin } from "../harness/Figures.ts"
import type { Trap } from "../harness/Proxy.ts"
import { held } from "./Held.ts"

const latePublish: Trap = { where: /^POST \/publish$/, at: "request", what: "late" }

/** Nine tenths of the stream have come. */
const streams = trapped("source", (_, { streamBytes }) => ({
  where: /\/stream$/,
  at: "body",
  place: afterBytes(streamBytes)
}))
const staging = held("medipim.stage_products")
const publishing = locked("public.products")

/** What somebody still does for a run, as its record and the services say it. */
const worksOn = Effect.fnUntraced(function* (runId: string) {
  const sql = yield* SqlClient
  const { fetcherStatus, maintainerStatus } = yield* Environment
  const [run] = yield* sql<{ readonly status: string }>`SELECT status FROM medipim.sync_runs WHERE id = ${runId}`
  const fetcher = yield* fetcherStatus
  const { chunks, publishing } = yield* maintainerStatus
  return [
    ...(run?.status === "cancelled" ? [] : [`its record says ${run?.status}`]),
    ...(fetcher.isRunning ? ["the fetcher downloads"] : []),
    ...(chunks.length > 0 ? ["the maintainer stages"] : []),
    ...(publishing === null ? [] : ["the maintainer publishes"])
  ]
})

/** `POST /runs/:id/cancel` ends the run and all work for it, while what holds the work up goes on doing so. */
const cancelled = (name: string, begin: Case["begin"]): Case => ({
  name: `cancel: ${name}`,
  kind: "cancel",
  begin,
  strike: Effect.fnUntraced(function* (runId) {
    const asked = performance.now()
    const took = () => Math.round(performance.now() - asked)
    yield* post(`/runs/${runId}/cancel`)
    const left = yield* worksOn(runId).pipe(
      Effect.repeat({
        until: (works) => works.length === 0 || took() > cancelWithin,
        schedule: Schedule.spaced("20 millis")
      })
    )
    if (left.length > 0) return yield* Effect.fail(`${took()} ms after it was cancelled ${left.join(" and ")}`)
    if (took() > cancelWithin) return yield* Effect.fail(`all work for the run ended only after ${took()} ms`)
  }),
  outcome: "cancelled"
})

/** What is published stays published, and its run has succeeded. */
const cancelledTooLate: Case = {
  name: "cancel: after the commit, before its answer",
  kind: "cancel",
  begin: trapped("maintainer", { where: /^POST \/publish$/, at: "answer" }),
  strike: (runId) => post(`/runs/${runId}/cancel`),
  outcome: "succeeded"
}

/** SIGTERM, as a deploy sends it: the process ends by itself, in time, and as one that had been asked to. */
const told = Effect.fnUntraced(function* (victim: ServiceName) {
  const { stop } = yield* Environment
  const asked = performance.now()
  const code = yield* stop(victim)
  const took = Math.round(performance.now() - asked)
  if (took > stopWithin) return yield* Effect.fail(`the ${victim} ended only after ${took} ms`)
  if (code !== 0) return yield* Effect.fail(`the ${victim} ended with code ${code}`)
})

/** What holds the work up goes on doing so, and the process may not wait for it; the run goes on after the next start. */
const stopped = (victim: ServiceName, name: string, begin: Case["begin"]): Case => ({
  name: `SIGTERM: ${victim} ${name}`,
  kind: "stop",
  begin,
  strike: () => told(victim),
  mend: Effect.flatMap(Environment, ({ launch }) => launch(victim)),
  outcome: "succeeded"
})

/** What came before SIGTERM is kept, whichever process goes on behind it. */
const stoppedFetcher: Case = stopped(
  "fetcher",
  "while fetching",
  Effect.fnUntraced(function* (dice) {
    const thrift = yield* thriftily(1.05)
    return { ...(yield* streams(dice)), ...thrift }
  })
)

/** Well inside the drain. */
const heldAfterSigterm = "3 seconds"

/** Work that can be finished in the drain is finished, and its caller hears of it. */
const finishes = (name: string, call: string, begin: Case["begin"]): Case => ({
  ...stopped("maintainer", `${name}, which it finishes`, begin),
  strike: Effect.fnUntraced(function* (_, { open }) {
    const { proxies, maintainerStatus } = yield* Environment
    const answered = () => proxies.maintainer.answered().filter((one) => one === call).length
    const { chunks, publishing } = yield* maintainerStatus
    const due = answered() + (publishing === null ? chunks.length : 1)
    yield* Effect.forkScoped(Effect.delay(open, heldAfterSigterm))
    yield* told("maintainer")
    if (answered() < due) return yield* Effect.fail(`${due - answered()} of its calls were not answered`)
  })
})

/** The publish has come as far as its first write, and nobody waits for its answer any more. */
const publishesForNobody: Case["begin"] = Effect.fnUntraced(function* (dice) {
  const onItsWay = yield* trapped("maintainer", latePublish)(dice)
  const atTheTable = yield* publishing(dice)
  const answered = yield* Effect.forkScoped(Effect.andThen(onItsWay.sprung, onItsWay.open))
  return {
    sprung: atTheTable.sprung,
    open: Effect.andThen(atTheTable.open, Fiber.join(answered))
  }
})

/** Runs that somebody stops, and processes that are told to. */
export const stops: ReadonlyArray<Case> = [
  cancelled("while fetching", streams),
  cancelled("while staging", staging),
  cancelled("while publishing", publishing),
  cancelled("in mid publish, its caller gone", publishesForNobody),
  // The publish comes when the run is over and its caller gone: only the maintainer can refuse it.
  cancelled("overtakes its publish", trapped("maintainer", latePublish)),
  cancelledTooLate,
  stoppedFetcher,
  finishes("while staging", "POST /run", staging),
  { ...finishes("while publishing", "POST /publish", publishing), thorough: true },
  // They take the whole 20 s that running requests have.
  { ...stopped("maintainer", "while staging", staging), thorough: true },
  { ...stopped("maintainer", "while publishing", publishing), thorough: true },
  stopped("orchestrator", "while fetching", streams),
  { ...stopped("orchestrator", "while staging", staging), thorough: true },
  { ...stopped("orchestrator", "while publishing", publishing), thorough: true },
  stopped("orchestrator", "while notifying", trapped("listener", { where: /^POST/, at: "request" }))
]
