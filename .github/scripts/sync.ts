// The step of sync.yml: validates its inputs, starts a sync, follows it to its end and writes the summary of the job. Exits
// with 1 when the sync fails. It has no dependency that is installed: the workflow runs it from the checkout.
import { appendFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import type { Run } from "@medipim/domain/Run"

const variable = (name: string): string => (process.env[name] ?? "").trim()

const url = variable("ORCHESTRATOR_URL").replace(/\/+$/, "")
const pause = Number(variable("POLL_SECONDS") || "10") * 1000
/** How long the orchestrator may be away, as in the minute of a deployment, before the job gives up. */
const patience = Number(variable("PATIENCE_SECONDS") || "600") * 1000
const requestTimeout = 30_000

const modes = ["full", "fetch-only", "maintain-only", "notification-only"]

/** What comes from elsewhere goes into a line of ours: nothing in it may be read as a command of the workflow. */
const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").replaceAll("::", ": :")
const notice = (text: string): void => console.log(`::notice::${oneLine(text)}`)

/** Ends the job: the reason is its annotation and stands in its summary. */
class Failed extends Error {}

const summary = (text: string): void => {
  const file = variable("GITHUB_STEP_SUMMARY")
  if (file !== "") appendFileSync(file, `${text}\n`)
}

/** The body of POST /sync. An input that was left empty is not sent, so the default of the service holds. */
const options = (): Record<string, unknown> => {
  const problems: Array<string> = []
  const wholeNumber = (name: string, least: number, most: number): number | undefined => {
    const text = variable(name)
    if (text === "") return undefined
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= least && value <= most)) problems.push(`${name} must be a whole number from ${least} to ${most}`)
    return value
  }
  const mode = variable("SYNC_MODE")
  if (mode !== "" && !modes.includes(mode)) problems.push(`SYNC_MODE must be one of ${modes.join(", ")}`)
  const wanted = {
    mode: mode || undefined,
    chunkSize: wholeNumber("SYNC_CHUNK_SIZE", 100, 50_000),
    offset: wholeNumber("SYNC_OFFSET", 0, 999_999_999),
    limit: wholeNumber("SYNC_LIMIT", 1, 999_999_999),
    forceRefresh: variable("SYNC_FORCE_REFRESH") === "true" || undefined,
    debug: variable("SYNC_DEBUG") === "true" || undefined
  }
  if (variable("MEDIPIM_ADMIN_KEY") === "") problems.push("the repository has no secret MEDIPIM_ADMIN_KEY")
  if (!/^https?:\/\//.test(url)) problems.push("ORCHESTRATOR_URL must be an address")
  if (problems.length > 0) throw new Failed(problems.join("; "))
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined))
}

interface Answer {
  readonly status: number
  readonly text: string
}

/** Asks until there is an answer that tells something: not a broken connection, not a gateway without a service behind. */
const ask = async (method: "GET" | "POST", path: string, body?: unknown): Promise<Answer> => {
  const giveUp = Date.now() + patience
  for (;;) {
    let problem: string
    try {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: {
          "X-ADMIN-KEY": variable("MEDIPIM_ADMIN_KEY"),
          ...(body === undefined ? {} : { "content-type": "application/json" })
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(requestTimeout)
      })
      const text = await answer.text()
      if (answer.status < 500 && answer.status !== 429) return { status: answer.status, text }
      problem = `status ${answer.status}`
    } catch (error) {
      const { message, cause } = error as Error
      problem = cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message
    }
    if (Date.now() > giveUp) throw new Failed(`${url}${path} does not answer: ${problem}`)
    console.log(`No answer yet: ${oneLine(problem)}`)
    await sleep(pause)
  }
}

/**
 * Starts a sync and returns its run id. When one is running already, that one is followed: it is the sync of tonight,
 * begun by another schedule, or by our own request whose answer was lost.
 */
const start = async (): Promise<string> => {
  const wanted = options()
  const { status, text } = await ask("POST", "/sync", wanted)
  if (status === 202 || status === 409) {
    const { runId } = JSON.parse(text) as { readonly runId: string }
    if (status === 409) {
      notice(`A sync is running already; this job follows run ${runId}. What was asked for: ${JSON.stringify(wanted)}`)
    }
    return runId
  }
  if (status === 401) throw new Failed("the orchestrator does not know this MEDIPIM_ADMIN_KEY")
  throw new Failed(`the orchestrator refused with ${status}: ${text}`)
}

const follow = async (runId: string): Promise<Run> => {
  let said = ""
  for (;;) {
    const { status, text } = await ask("GET", `/runs/${runId}`)
    if (status !== 200) throw new Failed(`run ${runId} cannot be followed, status ${status}: ${text}`)
    const run = JSON.parse(text) as Run
    if (run.status !== "running") return run
    const now = `${run.phase}, ${run.progress.percent} %, ${run.progress.totalRecords} records staged`
    if (now !== said) console.log(now)
    said = now
    await sleep(pause)
  }
}

const counts = [
  ["Records in the source", "recordsTotal"],
  ["Inserted", "inserted"],
  ["Updated", "updated"],
  ["Unchanged", "unchanged"],
  ["Removed", "removed"],
  ["Restored", "restored"],
  ["Stale", "stale"],
  ["Rejected", "rejected"]
] as const

const asTable = ({ runId, mode, status, published, startTime, endTime, progress, failure }: Run): string =>
  [
    `## Sync ${status}`,
    "",
    `Run \`${runId}\`, mode ${mode}, ${startTime} to ${endTime}; ${published ? "published" : "nothing was changed"}.`,
    ...(failure === null ? [] : ["", `**${failure.code}**: ${oneLine(failure.message)}`]),
    "",
    "| what | records |",
    "| --- | ---: |",
    ...counts.map(([what, field]) => `| ${what} | ${progress[field].toLocaleString("en-AU")} |`),
    ...progress.errors.map((error) => `\n- ${oneLine(error)}`)
  ].join("\n")

try {
  const runId = await start()
  console.log(`Run ${runId}`)
  const run = await follow(runId)
  summary(asTable(run))
  const reason = run.failure === null ? "" : `, ${run.failure.code}: ${run.failure.message}`
  if (run.status !== "succeeded") throw new Failed(`run ${runId} ${run.status}${reason}`)
  const { inserted, updated, removed, unchanged } = run.progress
  notice(`Run ${runId} succeeded: ${inserted} inserted, ${updated} updated, ${removed} removed, ${unchanged} unchanged`)
} catch (error) {
  if (!(error instanceof Failed)) throw error
  const reason = oneLine(error.message)
  console.log(`::error::${reason}`)
  summary(`\nThe job failed: ${reason}`)
  process.exitCode = 1
}
