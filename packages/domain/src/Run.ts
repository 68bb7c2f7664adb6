import { Schema } from "effect"
import { RunId, SnapshotId } from "./Ids.ts"
import { Mode, SyncOptions } from "./SyncOptions.ts"

export const Phase = Schema.Literals(["idle", "fetching", "staging", "publishing", "notifying"])
export type Phase = typeof Phase.Type

export const RunStatus = Schema.Literals(["running", "succeeded", "failed", "cancelled"])
export type RunStatus = typeof RunStatus.Type

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** How far a run is. Counts of records, bytes as the source sent them, seconds. */
export const Progress = Schema.Struct({
  fetched: Schema.Boolean,
  recordsFetched: Count,
  recordsTotal: Count,
  bytesFetched: Count,
  chunksProcessed: Count,
  chunksTotal: Count,
  /** Records staged so far. */
  totalRecords: Count,
  inserted: Count,
  updated: Count,
  unchanged: Count,
  stale: Count,
  removed: Count,
  restored: Count,
  rejected: Count,
  duplicates: Count,
  percent: Count.check(Schema.isLessThanOrEqualTo(100)),
  etaSeconds: Schema.NullOr(Count),
  /** Things a person should know that did not stop the run, and what stopped it. */
  errors: Schema.Array(Schema.String)
})
export type Progress = typeof Progress.Type

export const noProgress: Progress = {
  fetched: false,
  recordsFetched: 0,
  recordsTotal: 0,
  bytesFetched: 0,
  chunksProcessed: 0,
  chunksTotal: 0,
  totalRecords: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  stale: 0,
  removed: 0,
  restored: 0,
  rejected: 0,
  duplicates: 0,
  percent: 0,
  etaSeconds: null,
  errors: []
}

/** What a run waits for, since when (ISO text), and what was said the last time it asked. */
export const Wait = Schema.Struct({ what: Schema.String, since: Schema.String, reason: Schema.String })
export type Wait = typeof Wait.Type

/** Why a run failed, in a form a person can act on. `code` is the tag of the error that ended it. */
export const RunFailure = Schema.Struct({ code: Schema.String, message: Schema.String })
export type RunFailure = typeof RunFailure.Type

/** A replay of rejected lines changes the catalogue too, and is kept with the runs; nobody can ask for it by `POST /sync`. */
const RunMode = Schema.Literals([...Mode.literals, "replay"])

/** The record of a run that people see: a row of `medipim.sync_runs`. Times are ISO text in UTC. */
export const Run = Schema.Struct({
  runId: RunId,
  mode: RunMode,
  options: SyncOptions,
  status: RunStatus,
  phase: Phase,
  snapshotId: Schema.NullOr(SnapshotId),
  progress: Progress,
  /** While it is running: what it cannot go on without just now. */
  waitingFor: Schema.optionalKey(Schema.Array(Wait)),
  failure: Schema.NullOr(RunFailure),
  startTime: Schema.String,
  endTime: Schema.NullOr(Schema.String),
  /** True once the catalogue was changed by this run. */
  published: Schema.Boolean
})
export type Run = typeof Run.Type

/** Percent at which each phase begins: the download takes longest when MediPim sends at its usual 0.7 to 1 MB/s. */
const shares = { idle: 0, fetching: 0, staging: 50, publishing: 90, notifying: 99 } as const

const within = (done: number, all: number): number => (all === 0 ? 1 : Math.min(done / all, 1))

/** Percent of the run that is done; it does not fall while a run goes on. */
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

/** Seconds until the end if the rest goes on as the run has so far; null when that is not known, or a clock was set back. */
export const etaSeconds = (percent: number, elapsedMillis: number): number | null =>
  percent < 1 || elapsedMillis < 0 ? null : Math.round((elapsedMillis / percent) * ((100 - percent) / 1000))
