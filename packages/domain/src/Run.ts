import { Schema, SchemaTransformation } from "effect"
import { described } from "./Described.ts"
import { RunId, SnapshotId } from "./Ids.ts"
import { Count, noOutcomes, outcomes } from "./Outcomes.ts"
import { Mode, SyncOptions } from "./SyncOptions.ts"

/** The current step of a running run; `idle` before the first and after the last. */
export const Phase = Schema.Literals(["idle", "fetching", "staging", "publishing", "notifying"])
export type Phase = typeof Phase.Type

/** The state of a run; all but `running` are final. */
export const RunStatus = Schema.Literals(["running", "succeeded", "failed", "cancelled"])
export type RunStatus = typeof RunStatus.Type

/** How far a run is. */
export const Progress = Schema.Struct({
  fetched: described(Schema.Boolean, "True once the snapshot is complete in the store."),
  recordsFetched: described(Count, "Records downloaded so far."),
  recordsTotal: described(
    Count,
    "Records that this run has to process: all of the snapshot, or the range asked for; 0 until the source announced them."
  ),
  bytesFetched: described(Count, "Bytes received from the source, uncompressed."),
  chunksProcessed: described(Count, "Chunks staged so far."),
  chunksTotal: described(Count, "Chunks of the run; 0 until the snapshot is complete."),
  totalRecords: described(Count, "Records staged so far. Despite its name this is not the total: see recordsTotal."),
  ...outcomes,
  percent: described(
    Count.check(Schema.isLessThanOrEqualTo(100)),
    "Share of the work that is done, 0 to 100. A failed run keeps the share it reached."
  ),
  etaSeconds: described(Schema.NullOr(Count), "Estimated seconds to the end; null when unknown."),
  errors: described(
    Schema.Array(Schema.String),
    "Warnings for people; none of them stopped the run. What did is in failure."
  )
})
export type Progress = typeof Progress.Type

/** The progress of a run that has just begun. */
export const noProgress: Progress = {
  fetched: false,
  recordsFetched: 0,
  recordsTotal: 0,
  bytesFetched: 0,
  chunksProcessed: 0,
  chunksTotal: 0,
  totalRecords: 0,
  ...noOutcomes,
  percent: 0,
  etaSeconds: null,
  errors: []
}

/** A dependency that does not answer at the moment, and is asked again. */
export const Wait = Schema.Struct({
  what: described(
    Schema.String,
    "What does not answer: the database, the snapshot store, the source, a service or a lock."
  ),
  since: described(Schema.String, "When it first did not answer, ISO 8601 in UTC."),
  reason: described(Schema.String, "The error of the last attempt.")
})
export type Wait = typeof Wait.Type

/** Why a run ended without success: the tag of the error that ended it. docs/troubleshooting.md has what to do. */
export const FailureCode = Schema.Literals([
  ...["StreamBroken", "MediPimError", "EmptyCatalogue", "PublishRefused", "WriteFailed", "RunTimeout"],
  ...["SnapshotBroken", "SnapshotNotFound", "StoreError", "SqlError", "Busy", "NotTold", "HttpClientError"],
  ...["ConnectionLost", "Unauthorized", "TooManyWrongKeys", "RunNotRunning", "Cancelled", "Lost", "Defect"]
] as const)
export type FailureCode = typeof FailureCode.Type
const isFailureCode = Schema.is(FailureCode)

/** A code that no table explains, of an error that was not foreseen or of another version, is a defect: the message names it. */
export const failureOf = (code: string, message: string): RunFailure =>
  isFailureCode(code) ? { code, message } : { code: "Defect", message: `${code}: ${message}` }

/** A failure code as another version may send it: one that this version does not know is read as a defect. */
export const ReceivedFailureCode = described(
  Schema.String,
  `Failure code, the tag of the error that ended the run: one of ${FailureCode.literals.join(", ")}. docs/troubleshooting.md explains them.`
).pipe(
  Schema.decodeTo(
    FailureCode,
    SchemaTransformation.transform({
      decode: (code): FailureCode => (isFailureCode(code) ? code : "Defect"),
      encode: (code) => code
    })
  )
)

/** Why a run failed, in a form a person can act on. */
export const RunFailure = Schema.Struct({
  code: ReceivedFailureCode,
  message: described(Schema.String, "What happened and what to do.")
})
export type RunFailure = typeof RunFailure.Type

/** A replay of rejected lines changes the catalogue too, and is kept with the runs; `POST /sync` does not accept it. */
const RunMode = Schema.Literals([...Mode.literals, "replay"])
export type RunMode = typeof RunMode.Type

/** A run as callers see it: a row of `medipim.sync_runs`. */
export const Run = Schema.Struct({
  runId: described(RunId, "Identifier of the run. It begins with the UTC time at which the run was created."),
  mode: described(RunMode, "What the run does. replay is the run of POST /rejected/replay."),
  options: SyncOptions,
  status: described(RunStatus, "running until it ends as succeeded, failed or cancelled."),
  phase: described(Phase, "The current step of a running run; idle before the first and after the last."),
  snapshotId: described(Schema.NullOr(SnapshotId), "The snapshot it works on; null until it is known."),
  progress: described(Progress, "How far the run is, and what it did."),
  waitingFor: Schema.optionalKey(
    described(
      Schema.Array(Wait),
      "Dependencies that a running run is waiting for. Empty or missing when it waits for none."
    )
  ),
  failure: described(Schema.NullOr(RunFailure), "Why the run failed; null unless it did."),
  startTime: described(Schema.String, "When the run was created, ISO 8601 in UTC, by the clock of the database."),
  endTime: described(Schema.NullOr(Schema.String), "When the run ended, ISO 8601 in UTC; null while it is running."),
  published: described(Schema.Boolean, "True once the publish of this run has committed, also when nothing differed.")
})
export type Run = typeof Run.Type

/** Percent at which each phase begins: the download takes longest when MediPim sends at its usual 0.7 to 1 MB/s. */
const shares = { idle: 0, fetching: 0, staging: 50, publishing: 90, notifying: 99 } as const

const within = (done: number, all: number): number => (all === 0 ? 1 : Math.min(done / all, 1))

/** Percent of the run that is done; it never falls during a run. */
export const percentOf = (mode: Mode, phase: Phase, progress: Progress): number => {
  if (mode === "notification-only" || phase === "idle") return shares[phase]
  const fetched = within(progress.recordsFetched, progress.recordsTotal)
  if (mode === "fetch-only")
    return progress.fetched ? 99 : Math.floor(fetched * 99 * (progress.recordsTotal > 0 ? 1 : 0))
  const from = mode === "maintain-only" ? 0 : shares[phase]
  if (phase === "fetching") return progress.recordsTotal === 0 ? 0 : Math.floor(fetched * shares.staging)
  if (phase === "staging") {
    const staged = within(progress.totalRecords, progress.recordsTotal)
    return Math.floor(from + staged * (shares.publishing - from))
  }
  return shares[phase]
}

/** Estimated seconds to the end at the pace so far; null when that is not known, or a clock was set back. */
export const etaSeconds = (percent: number, elapsedMillis: number): number | null =>
  percent < 1 || elapsedMillis < 0 ? null : Math.round((elapsedMillis / percent) * ((100 - percent) / 1000))
