import { freshForHours, type OrchestratorStatus } from "@medipim/http-api/OrchestratorApi"

const hourMillis = 3_600_000

/** How long ago a moment was, as a person says it. */
export const ago = (millis: number): string => {
  const hours = Math.floor(millis / hourMillis)
  if (hours >= 48) return `${Math.floor(hours / 24)} days ago`
  if (hours >= 1) return `${hours} h ago`
  return millis < 60_000 ? "just now" : `${Math.floor(millis / 60_000)} min ago`
}

/** How old the catalogue is, in words; whether that is too old, the service has decided. */
export const freshness = (
  { lastSuccessAt, requestedAt, stale }: OrchestratorStatus,
  now: number
): ReadonlyArray<string> => {
  if (lastSuccessAt === null) return ["last published never"]
  const published = `last published ${ago(now - Date.parse(lastSuccessAt))} (${lastSuccessAt})`
  if (!stale) return [published]
  const age = requestedAt === undefined ? 0 : now - Date.parse(requestedAt)
  // An age below the limit is that of a clock that is wrong here or was wrong there: the database has decided.
  const asked =
    age > freshForHours * hourMillis
      ? `was requested ${ago(age)}, the limit is ${freshForHours} h`
      : `was not requested in the last ${freshForHours} h by the clock of the database`
  return [published, `stale          the newest whole snapshot ${asked}`]
}
