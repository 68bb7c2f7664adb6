import { planChunks, rangeOf } from "@medipim/domain/ChunkPlan"
import { RunId } from "@medipim/domain/Ids"
import { ChunkSize, SyncOptions } from "@medipim/domain/SyncOptions"
import { Cause, Effect, identity, Option, References, Schema } from "effect"
import { Workflow } from "effect/workflow"
import { cancelledCode } from "./Cancellation.ts"
import { type Journal, openJournal } from "./Journal.ts"
import { type Ending, RunRecords } from "./RunRecords.ts"
import { SyncFailed } from "./ServiceCalls.ts"
import { Steps } from "./Steps.ts"
import { WaitReporter } from "./WaitReporter.ts"

/** The durable form of a run: after a restart of the process it goes on with the first step that was not done. */
export const Sync = Workflow.make("Sync", {
  payload: { runId: RunId, startedAt: Schema.Int, options: SyncOptions, chunkSize: ChunkSize },
  success: Schema.Void,
  error: SyncFailed,
  idempotencyKey: ({ runId }) => runId
})

type Payload = typeof Sync.payloadSchema.Type

/** Twice in one run is more than one crash. */
const adviseAgain = (error: SyncFailed): SyncFailed =>
  error.reason === "incomplete-staging"
    ? new SyncFailed({
        ...error,
        message: `${error.message} Is the database stable? Look at its log, then sync again.`
      })
    : error

/** What a run does, step by step. Only what happens inside a step happens once. */
const work = Effect.fn("Sync.work")(function* ({ runId, options, chunkSize }: Payload, journal: Journal) {
  const mode = options.mode ?? "full"
  const steps = yield* Steps
  if (mode === "notification-only") return

  yield* journal.phase("fetching")
  const snapshot =
    mode === "maintain-only" ? yield* steps.choose(runId, options) : yield* steps.fetch(runId, options, journal)
  yield* journal.snapshot(snapshot.snapshotId)
  const range = rangeOf(snapshot.records, options.offset ?? 0, options.limit)
  yield* journal.update({ fetched: true, recordsFetched: snapshot.records, bytesFetched: snapshot.bytes })
  if (mode === "fetch-only") {
    return yield* journal.update({ recordsTotal: snapshot.records })
  }

  const chunks = planChunks(range, chunkSize)
  yield* journal.update({ recordsTotal: range.limit, chunksTotal: chunks.length })
  const stageAndPublish = Effect.fnUntraced(function* (round: 1 | 2) {
    const staged = { runId, snapshotId: snapshot.snapshotId, round }
    yield* journal.phase("staging")
    yield* steps.stage(staged, chunks, journal)
    yield* journal.phase("publishing")
    return yield* steps.publish(staged, options)
  })
  const { counts, warnings } = yield* stageAndPublish(1).pipe(
    Effect.catchIf(
      // The staging tables are unlogged: a database that crashed comes back with them empty, and the counts tell.
      ({ reason }) => reason === "incomplete-staging",
      ({ message }) =>
        Effect.andThen(
          journal.note(`Staged a second time: ${message}`),
          Effect.mapError(stageAndPublish(2), adviseAgain)
        )
    )
  )
  const { records: _staged, ...changes } = counts
  yield* journal.update(changes)
  yield* Effect.forEach(warnings, journal.note, { discard: true })
})

const endingOf = (cause: Cause.Cause<SyncFailed>): Ending => {
  const { code, message } = Option.getOrElse(Cause.findErrorOption(cause), () => ({
    code: "Defect",
    message: "An unexpected error; the log of the orchestrator has it."
  }))
  return { status: code === cancelledCode ? "cancelled" : "failed", failure: { code, message } }
}

/** Tells and records how a run ends. Nobody is told of a run that somebody has stopped. */
const end = Effect.fn("Sync.end")(function* ({ runId, options }: Payload, ending: Ending, journal: Journal) {
  const records = yield* RunRecords
  const steps = yield* Steps
  const finish = (as: Ending) => Effect.orDie(records.end(runId, as))
  if (ending.status === "cancelled") return yield* finish(ending)
  yield* journal.notifying(ending.status === "failed")
  const problem = yield* steps.notify(runId, ending)
  if (problem !== null) yield* journal.note(problem)
  // What went wrong with the telling spoils no run that has done something else.
  const isOnlyForThat = options.mode === "notification-only" && ending.status === "succeeded"
  const isForNothing = problem !== null && isOnlyForThat
  yield* finish(isForNothing ? { status: "failed", failure: { code: "NotTold", message: problem } } : ending)
  if (!isOnlyForThat) yield* steps.prune(runId)
})

/** Registers the workflow. However a run ends, its record says so; only a stopping process leaves it to go on later. */
export const layer = Sync.toLayer((payload) =>
  Effect.gen(function* () {
    const { runId, options } = payload
    const journal = yield* openJournal(runId, options.mode ?? "full")
    const waits = yield* WaitReporter
    yield* Effect.forkScoped(waits.report(runId, journal.currentPhase))
    yield* work(payload, journal).pipe(
      Effect.tapCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.void
          : Effect.logError("The sync failed", cause).pipe(Effect.andThen(end(payload, endingOf(cause), journal)))
      ),
      Effect.tap(() => end(payload, { status: "succeeded" }, journal)),
      options.debug === true ? Effect.provideService(References.MinimumLogLevel, "Debug") : identity
    )
  }).pipe(Effect.scoped)
)
