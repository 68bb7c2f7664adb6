import { planChunks, rangeOf } from "@medipim/domain/ChunkPlan"
import { RunId } from "@medipim/domain/Ids"
import { outcomeNames } from "@medipim/domain/Outcomes"
import type { Run } from "@medipim/domain/Run"
import { ChunkSize, SyncOptions } from "@medipim/domain/SyncOptions"
import { type Ending, RunRecords } from "@medipim/platform/database/RunRecords"
import { Cause, Effect, identity, Option, References, Schema } from "effect"
import { Workflow } from "effect/workflow"
import { cancelledCode } from "./Cancellation.ts"
import { openProgressReporter, type ProgressReporter } from "./ProgressReporter.ts"
import { SyncFailed } from "./ServiceCalls.ts"
import { Steps } from "./Steps.ts"
import { WaitReporter } from "./WaitReporter.ts"

/** The durable form of a run: after a restart it resumes with the first step that is not done. */
export const Sync = Workflow.make("Sync", {
  payload: { runId: RunId, startedAt: Schema.Int, options: SyncOptions, chunkSize: ChunkSize },
  success: Schema.Void,
  error: SyncFailed,
  idempotencyKey: ({ runId }) => runId
})

type Payload = typeof Sync.payloadSchema.Type

/** A second loss of the staging tables in one run suggests that the database is unstable. */
const withStabilityHint = (error: SyncFailed): SyncFailed =>
  error.reason === "incomplete-staging"
    ? new SyncFailed({
        ...error,
        message: `${error.message} Is the database stable? Look at its log, then sync again.`
      })
    : error

/** What a run does, step by step. Only what happens inside a step happens once. */
const work = Effect.fn("Sync.work")(function* ({ runId, options, chunkSize }: Payload, reporter: ProgressReporter) {
  const mode = options.mode ?? "full"
  const steps = yield* Steps
  if (mode === "notification-only") return

  yield* reporter.phase("fetching")
  const snapshot =
    mode === "maintain-only" ? yield* steps.choose(runId, options) : yield* steps.fetch(runId, options, reporter)
  yield* reporter.snapshot(snapshot.snapshotId)
  const range = rangeOf(snapshot.records, options.offset ?? 0, options.limit)
  yield* reporter.update({ fetched: true, recordsFetched: snapshot.records, bytesFetched: snapshot.bytes })
  if (mode === "fetch-only") {
    return yield* reporter.update({ recordsTotal: snapshot.records })
  }

  const chunks = planChunks(range, chunkSize)
  yield* reporter.update({ recordsTotal: range.limit, chunksTotal: chunks.length })
  const stageAndPublish = Effect.fnUntraced(function* (round: 1 | 2) {
    const staged = { runId, snapshotId: snapshot.snapshotId, round }
    yield* reporter.phase("staging")
    yield* steps.stage(staged, chunks, reporter)
    yield* reporter.phase("publishing")
    return yield* steps.publish(staged, options)
  })
  const { counts, warnings } = yield* stageAndPublish(1).pipe(
    Effect.catchIf(
      // The staging tables are unlogged: after a crash of the database they are empty, and the counts show it.
      ({ reason }) => reason === "incomplete-staging",
      ({ message }) =>
        Effect.andThen(
          reporter.note(`Staged a second time: ${message}`),
          Effect.mapError(stageAndPublish(2), withStabilityHint)
        )
    )
  )
  const { records: _staged, ...changes } = counts
  yield* reporter.update(changes)
  yield* Effect.forEach(warnings, reporter.note, { discard: true })
})

const endingOf = (cause: Cause.Cause<SyncFailed>): Ending => {
  const { code, message } = Option.getOrElse(Cause.findErrorOption(cause), () => ({
    code: "Defect" as const,
    message: "An unexpected error; the log of the orchestrator has it."
  }))
  return { status: code === cancelledCode ? "cancelled" : "failed", failure: { code, message } }
}

/** Notifies and records how a run ended. A cancelled run is not notified. */
const end = Effect.fn("Sync.end")(function* ({ runId, options }: Payload, ending: Ending, reporter: ProgressReporter) {
  const records = yield* RunRecords
  const steps = yield* Steps
  const finish = (as: Ending) => Effect.orDie(records.end(runId, as))
  if (ending.status === "cancelled") return yield* finish(ending)
  yield* reporter.notifying(ending.status === "failed")
  const problem = yield* steps.notify(runId, ending)
  if (problem !== null) yield* reporter.note(problem)
  // A failed notification fails only a run that does nothing else.
  const isNotificationOnly = options.mode === "notification-only" && ending.status === "succeeded"
  const onlyNotificationFailed = problem !== null && isNotificationOnly
  yield* finish(onlyNotificationFailed ? { status: "failed", failure: { code: "NotTold", message: problem } } : ending)
  if (!isNotificationOnly) yield* steps.prune(runId)
})

/** An error in one line; only a defect shows where it happened. */
const logFailure = (runId: RunId, cause: Cause.Cause<SyncFailed>) =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => Effect.logError(`Sync ${runId} failed with a defect`, cause),
    onSome: ({ code, message }) =>
      code === cancelledCode
        ? Effect.logInfo(`Sync ${runId} was cancelled`)
        : Effect.logError(`Sync ${runId} failed: ${code}: ${message}`)
  })

/** The row has the last word: a publish that committed has succeeded, whatever became of its answer. */
const logEnd = Effect.fnUntraced(function* (runId: RunId) {
  const records = yield* RunRecords
  const run = yield* Effect.orElseSucceed(records.find(runId), () => Option.none<Run>())
  if (Option.isNone(run)) return
  const { status, progress } = run.value
  const counts = outcomeNames
    .filter((outcome) => progress[outcome] > 0)
    .map((outcome) => `${progress[outcome]} ${outcome}`)
  const what = counts.length === 0 ? "" : `: ${counts.join(", ")}`
  const log = status === "succeeded" ? Effect.logInfo : Effect.logError
  yield* log(`Sync ${runId} ${status}, ${progress.recordsTotal} records${what}`)
})

/** Registers the workflow. However a run ends, its row says so; only a stopping process leaves it to be resumed. */
export const layer = Sync.toLayer((payload) =>
  Effect.gen(function* () {
    const { runId, options } = payload
    const reporter = yield* openProgressReporter(runId, options.mode ?? "full")
    const waits = yield* WaitReporter
    yield* Effect.forkScoped(waits.report(runId, reporter.currentPhase))
    yield* work(payload, reporter).pipe(
      Effect.tapCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.void
          : Effect.andThen(logFailure(runId, cause), end(payload, endingOf(cause), reporter))
      ),
      Effect.tap(() => end(payload, { status: "succeeded" }, reporter)),
      Effect.tap(() => logEnd(runId)),
      options.debug === true ? Effect.provideService(References.MinimumLogLevel, "Debug") : identity
    )
  }).pipe(Effect.scoped, Effect.annotateLogs({ runId: payload.runId }))
)
