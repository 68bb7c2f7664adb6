import { plainLine, progressLine, runLine } from "@medipim/cli/Text"
import { noProgress, type Run } from "@medipim/domain/Run"
import type { OrchestratorStatus } from "@medipim/http-api/OrchestratorApi"
import { assert, describe, it } from "vitest"
import { anyService, aRun, json, runId } from "./AnyService.ts"

const { told: service, medipim } = anyService()

const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000 - 60_000).toISOString()

describe("The status", () => {
  const told = (lastSuccessAt: string | null, stale: boolean, more: Partial<OrchestratorStatus> = {}) =>
    json({
      isRunning: false,
      currentPhase: "idle",
      runId: null,
      mode: null,
      startTime: null,
      progress: noProgress,
      lastRun: null,
      lastSuccessAt,
      stale,
      nextScheduledRun: null,
      uptimeSeconds: 5,
      ...more
    })
  const limits = /26 h/

  it("says how old a fresh catalogue is", async () => {
    const at = hoursAgo(3)
    service.routes = { "/status": told(at, false) }
    const { code, out, err } = await medipim("status")
    assert.strictEqual(code, 0, err)
    assert.include(out, `last published 3 h ago (${at})\n`)
    assert.notMatch(out, limits)
  })

  it("says why a catalogue is stale that was published just now, and has a code for it", async () => {
    service.routes = { "/status": told(hoursAgo(1), true, { requestedAt: hoursAgo(31) }) }
    const { code, out } = await medipim("status")
    assert.strictEqual(code, 6)
    assert.match(out, /^last published 1 h ago/m)
    assert.match(out, /^stale {10}the newest whole snapshot was requested 31 h ago, the limit is 26 h$/m)
    const scripted = await medipim("status --json")
    assert.deepStrictEqual([scripted.code, JSON.parse(scripted.out).stale], [6, true])
  })

  it("gives no age that it does not know", async () => {
    // The clock says less than the limit, or nobody knows.
    for (const more of [{ requestedAt: hoursAgo(1) }, {}]) {
      service.routes = { "/status": told(hoursAgo(1), true, more) }
      const { code, out } = await medipim("status")
      assert.strictEqual(code, 6)
      assert.match(out, /^stale .* was not requested in the last 26 h by the clock of the database$/m)
    }
    service.routes = { "/status": told(null, true) }
    const { code, out } = await medipim("status")
    assert.strictEqual(code, 6)
    assert.match(out, /^last published never$/m)
  })

  const failed: Run = {
    ...aRun,
    status: "failed",
    phase: "idle",
    endTime: "2020-01-01T00:10:00.000Z",
    progress: { ...aRun.progress, fetched: true, chunksTotal: 4, chunksProcessed: 4, percent: 99, etaSeconds: null },
    failure: { code: "PublishRefused", message: "400 of 5000 products would be removed" }
  }
  const reason = "PublishRefused while publishing: 400 of 5000 products would be removed"

  it.each(["status", "runs", `cancel ${runId}`])(
    "shows the code of a failure first, and no percent: %s",
    async (line) => {
      service.routes = {
        "/status": told(hoursAgo(3), false, { progress: failed.progress, lastRun: failed }),
        "/runs": json({ runs: [failed] }),
        [`/runs/${runId}/cancel`]: json(failed)
      }
      const { out, err } = await medipim(line)
      assert.include(out, reason, err)
      assert.notInclude(out, "%")
    }
  )

  it("shows in what a run was when it failed", () => {
    const { progress } = failed
    const phases: ReadonlyArray<readonly [string, Run]> = [
      ["fetching", { ...failed, progress: { ...noProgress, percent: 99 } }],
      ["choosing the snapshot", { ...failed, mode: "maintain-only", progress: noProgress }],
      ["staging", { ...failed, progress: { ...progress, chunksProcessed: 3 } }],
      ["publishing", failed],
      ["notifying", { ...failed, mode: "notification-only", progress: noProgress }]
    ]
    for (const [phase, run] of phases) assert.include(runLine(run), `PublishRefused while ${phase}: 400`)
  })

  it("shows no percent of a run that is notifying: it may be about a failure", () => {
    const run: Run = { ...aRun, phase: "notifying", progress: { ...aRun.progress, percent: 99 } }
    for (const line of [progressLine(run, 0, 80), progressLine(run, 0, 20), plainLine(run), runLine(run)]) {
      assert.match(line, /notifying/)
      assert.notInclude(line, "%")
    }
  })
})
