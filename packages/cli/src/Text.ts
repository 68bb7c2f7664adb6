import type { PublishCounts } from "@medipim/domain/PublishRules"
import type { Phase, Progress, Run, RunFailure } from "@medipim/domain/Run"
import type { ReplayResult } from "@medipim/http-api/MaintainerApi"

const number = new Intl.NumberFormat("en-AU")
const n = (value: number): string => number.format(value)

const bar = (percent: number, width: number): string => {
  const done = Math.round((percent / 100) * width)
  return `${"█".repeat(done)}${"░".repeat(width - done)}`
}

/** Seconds as a person says them. */
export const duration = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  const minutes = Math.floor(whole / 60)
  return minutes === 0 ? `${whole} s` : `${minutes} min ${whole % 60} s`
}

/** Records done in the current phase. */
export const recordsDone = ({ phase, progress }: Run): number =>
  phase === "fetching" ? progress.recordsFetched : progress.totalRecords

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`

const phaseOf = ({ phase }: Run): string => (phase === "idle" ? "starting" : phase)

/** The last column, in which some terminals wrap already, and two for the `^C` that a terminal writes behind the line. */
const kept = 3

/** Shown while a run is notifying: it may have failed, and its percent is that of the work. */
const notifying = "notifying  the result of the run"

/** Where a run is, with its percent where that means something. */
export const phaseLine = (phase: Phase, { percent }: Progress): string =>
  phase === "notifying" ? phase : `${phase}, ${percent} %`

const countsOf = (run: Run): string => {
  if (run.phase === "idle") return "waiting for the workflow"
  return `${n(recordsDone(run))} of ${n(run.progress.recordsTotal)}`
}

const amountOf = ({ phase, progress }: Run): string =>
  phase === "fetching"
    ? ` records, ${megabytes(progress.bytesFetched)}`
    : ` records, chunk ${progress.chunksProcessed}/${progress.chunksTotal}`

const detail = (run: Run): string => `${countsOf(run)}${run.phase === "idle" ? "" : amountOf(run)}`

/**
 * One line on how a run goes, for a terminal of so many columns; `perSecond` are records, 0 when not known. What does not
 * fit is left out, the percent and the counts last: a line that wraps cannot be drawn again in its place.
 */
export const progressLine = (run: Run, perSecond: number, columns: number): string => {
  const { percent, etaSeconds } = run.progress
  const room = Math.max(0, columns - kept)
  if (run.phase === "notifying") return notifying.slice(0, room)
  const phase = phaseOf(run).padEnd(10)
  const share = `${String(percent).padStart(3)} %`
  const counts = countsOf(run)
  const rate = perSecond > 0 ? `, ${n(Math.round(perSecond))}/s` : ""
  const eta = etaSeconds === null ? "" : `, ${duration(etaSeconds)} left`
  const wide = `${phase} ${bar(percent, 24)} ${share}  `
  const forms = [
    `${wide}${detail(run)}${rate}${eta}`,
    `${wide}${counts}${rate}${eta}`,
    `${wide}${counts}${eta}`,
    `${phase} ${bar(percent, 12)} ${share}  ${counts}${eta}`,
    `${phase} ${share}  ${counts}${eta}`,
    `${phase} ${share}  ${counts}`,
    `${phase} ${share}`
  ]
  return forms.find(({ length }) => length <= room) ?? share.slice(0, room)
}

/** The same without a bar, for logs. */
export const plainLine = (run: Run): string =>
  run.phase === "notifying" ? notifying : `${phaseOf(run)} ${run.progress.percent} %: ${detail(run)}`

const secondsOf = ({ startTime, endTime }: Run): number | undefined =>
  endTime === null ? undefined : (Date.parse(endTime) - Date.parse(startTime)) / 1000

const changes = (counts: Omit<PublishCounts, "records">): ReadonlyArray<string> =>
  (["inserted", "updated", "restored", "removed", "unchanged", "stale", "rejected", "duplicates"] as const)
    .filter((key) => counts[key] > 0)
    .map((key) => `${n(counts[key])} ${key}`)

const headline = (run: Run): string => {
  const seconds = secondsOf(run)
  const took = seconds === undefined ? "" : ` in ${duration(seconds)}`
  const dry = run.options.dryRun === true ? " (dry run: no product was written)" : ""
  return `Sync ${run.runId} ${run.status}${took}${dry}`
}

/**
 * In what a run was when it failed or was cancelled. Its record has ended by then, with no phase; its counts show it.
 */
const failedIn = ({ mode, progress }: Run): string => {
  const { fetched, chunksTotal, chunksProcessed } = progress
  if (mode === "notification-only" || (mode === "fetch-only" && fetched)) return "notifying"
  if (!fetched) return mode === "maintain-only" ? "choosing the snapshot" : "fetching"
  return chunksTotal > 0 && chunksProcessed === chunksTotal ? "publishing" : "staging"
}

/** Why a run failed: the code first, by which the documents are ordered. */
const reasonOf = (run: Run, { code, message }: RunFailure): string => `${code} while ${failedIn(run)}: ${message}`

/** What a run did, in a few lines. */
export const summary = (run: Run): ReadonlyArray<string> => {
  const { progress, failure, snapshotId } = run
  const counted = changes(progress)
  return [
    headline(run),
    ...(snapshotId === null
      ? []
      : [`  snapshot   ${snapshotId}, ${n(progress.recordsFetched)} records, ${megabytes(progress.bytesFetched)}`]),
    ...(counted.length === 0 ? [] : [`  products   ${counted.join(", ")}`]),
    ...progress.errors.map((text) => `  note       ${text}`),
    ...(failure === null ? [] : [`  reason     ${reasonOf(run, failure)}`])
  ]
}

/** A line of `medipim runs`. */
export const runLine = (run: Run): string => {
  const seconds = secondsOf(run)
  const counted = run.failure === null ? changes(run.progress).join(", ") : reasonOf(run, run.failure)
  return [
    run.runId,
    run.status.padEnd(9),
    run.mode.padEnd(13),
    (seconds === undefined ? phaseLine(run.phase, run.progress) : duration(seconds)).padStart(16),
    counted
  ].join("  ")
}

/** What a replay did. */
export const replayed = (result: ReplayResult, dryRun: boolean): ReadonlyArray<string> => {
  const counted = changes({ ...result.counts, rejected: 0 })
  return [
    `${n(result.replayed)} of ${n(result.examined)} rejected lines pass now${dryRun ? " (dry run: nothing was written)" : ""}`,
    ...(counted.length === 0 ? [] : [`  products   ${counted.join(", ")}`]),
    ...(result.runId === null ? [] : [`  kept as    run ${result.runId}`]),
    ...(result.superseded === 0
      ? []
      : [`  left       ${n(result.superseded)} of other snapshots than the published one`]),
    ...(result.warnings ?? []).map((text) => `  note       ${text}`)
  ]
}
