import type { Run } from "@medipim/domain/Run"
import type { OrchestratorStatus } from "@medipim/http-api/OrchestratorApi"

/** The limit behind `stale` of the orchestrator's status, for the text alone: the service decides. */
const freshForHours = 26

const hourMillis = 3_600_000

/** How long ago a moment was, as a person says it. */
export const ago = (millis: number): string => {
  const hours = Math.floor(millis / hourMillis)
  if (hours >= 48) return `${Math.floor(hours / 24)} days ago`
  if (hours >= 1) return `${hours} h ago`
  return millis < 60_000 ? "just now" : `${Math.floor(millis / 60_000)} min ago`
}

const isWhole = ({ published, mode, options }: Run): boolean =>
  published && mode !== "replay" && options.offset === undefined && options.limit === undefined

/**
 * When the newest snapshot that was published as a whole was requested: at the start of the run that bears its name. The
 * runs are those of the orchestrator, newest first; `undefined` when they do not reach back far enough.
 */
export const requestedAt = (runs: ReadonlyArray<Run>): number | undefined => {
  const published = new Set<string | null>(runs.filter(isWhole).map(({ snapshotId }) => snapshotId))
  const fetchedBy = runs.find(({ runId }) => published.has(runId))
  return fetchedBy === undefined ? undefined : Date.parse(fetchedBy.startTime)
}

/** How old the catalogue is, in words. `requested` is when its source was asked, if that is known. */
export const freshness = (
  { lastSuccessAt, stale }: OrchestratorStatus,
  requested: number | undefined,
  now: number
): ReadonlyArray<string> => {
  if (lastSuccessAt === null) return ["last published never"]
  const published = `last published ${ago(now - Date.parse(lastSuccessAt))} (${lastSuccessAt})`
  if (!stale) return [published]
  const age = requested === undefined ? 0 : now - requested
  // An age below the limit is that of a clock that is wrong here or was wrong there: the database has decided.
  const asked =
    age > freshForHours * hourMillis
      ? `was requested ${ago(age)}, the limit is ${freshForHours} h`
      : `was not requested in the last ${freshForHours} h by the clock of the database`
  return [published, `stale          the newest whole snapshot ${asked}`]
}
