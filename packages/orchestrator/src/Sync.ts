import { planChunks, rangeOf } from "@medipim/domain/ChunkPlan"
import { RunId } from "@medipim/domain/Ids"
import { SyncOptions } from "@medipim/domain/SyncOptions"
import { Cause, Effect, identity, Option, References, Schema } from "effect"
import { Workflow } from "effect/workflow"
import { openJournal } from "./Journal.ts"
import { type Ending, RunRecords } from "./RunRecords.ts"
import { SyncFailed } from "./ServiceCalls.ts"
import { Steps } from "./Steps.ts"

/** The durable form of a run: after a restart of the process it goes on with the first step that was not done. */
export const Sync = Workflow.make("Sync", {
  payload: { runId: RunId, startedAt: Schema.Int, options: SyncOptions },
  success: Schema.Void,
  error: SyncFailed,
  idempotencyKey: ({ runId }) => runId
})

type Payload = typeof Sync.payloadSchema.Type

/** What a run does, step by step. Only what happens inside a step happens once. */
const work = Effect.fn("Sync.work")(function* ({ runId, startedAt, options }: Payload, defaultChunkSize: number) {
  const mode = options.mode ?? "full"
  const steps = yield* Steps
  const journal = yield* openJournal(runId, mode, startedAt)
  if (mode === "notification-only") {
    yield* journal.note("There is nobody to notify: notifications are not set up.")
    return yield* journal.phase("notifying")
  }

  yield* journal.phase("fetching")
  const snapshot =
    mode === "maintain-only" ? yield* steps.choose(runId, options) : yield* steps.fetch(runId, options, journal)
  yield* journal.snapshot(snapshot.snapshotId)
  const range = rangeOf(snapshot.records, options.offset ?? 0, options.limit)
  yield* journal.update({ fetched: true, recordsFetched: snapshot.records, bytesFetched: snapshot.bytes })
  if (mode === "fetch-only") {
    yield* journal.update({ recordsTotal: snapshot.records })
    return yield* journal.phase("notifying")
  }

  const chunks = planChunks(range, options.chunkSize ?? defaultChunkSize)
  yield* journal.update({ recordsTotal: range.limit, chunksTotal: chunks.length })
  yield* journal.phase("staging")
  yield* steps.stage(runId, snapshot.snapshotId, chunks, journal)
  yield* journal.phase("publishing")
  const { counts, warnings } = yield* steps.publish(runId, snapshot.snapshotId, options)
  const { records: _staged, ...changes } = counts
  yield* journal.update({ ...changes, errors: warnings })
  return yield* journal.phase("notifying")
})

const endingOf = (cause: Cause.Cause<SyncFailed>): Ending => {
  const { code, message } = Option.getOrElse(Cause.findErrorOption(cause), () => ({
    code: "Defect",
    message: "An unexpected error; the log of the orchestrator has it."
  }))
  return { status: "failed", failure: { code, message } }
}

/** Registers the workflow. However a run ends, its record says so; only a stopping process leaves it to go on later. */
export const layer = (defaultChunkSize: number) =>
  Sync.toLayer((payload) =>
    Effect.gen(function* () {
      const records = yield* RunRecords
      const { runId, options } = payload
      const end = (ending: Ending) => Effect.orDie(records.end(runId, ending))
      yield* work(payload, defaultChunkSize).pipe(
        Effect.tap(() => end({ status: "succeeded" })),
        Effect.tapCause((cause) =>
          Cause.hasInterrupts(cause)
            ? Effect.void
            : Effect.logError("The sync failed", cause).pipe(Effect.andThen(end(endingOf(cause))))
        ),
        options.debug === true ? Effect.provideService(References.MinimumLogLevel, "Debug") : identity
      )
    })
  )
