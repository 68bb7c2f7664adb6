import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { plainLine, progressLine, runLine } from "@medipim/cli/Text"
import { RunId } from "@medipim/domain/Ids"
import { noProgress, type Run } from "@medipim/domain/Run"
import type { OrchestratorStatus } from "@medipim/http-api/OrchestratorApi"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { root } from "../src/Workspace.ts"

const adminKey = "test-key-of-forty-characters-0123456789ab"

/** A service that answers whatever a test wants, and counts how often it is asked. */
let asked = 0
/** Sent again and again, without an end, when it is not empty. */
let stream = ""
interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}
let answer: Answer
/** Answers of some routes, which go before it. */
let routes: Readonly<Record<string, Answer>> = {}
const service = createServer(({ url = "" }, response) => {
  asked++
  const { status, type, body } = routes[url.split("?")[0] ?? ""] ?? answer
  response.writeHead(status, { "content-type": type })
  if (stream === "") return response.end(body)
  const again = setInterval(() => response.write(stream), 50)
  response.once("close", () => clearInterval(again))
})
const address = () => `http://localhost:${(service.address() as AddressInfo).port}`

beforeAll(async () => {
  await new Promise<void>((resolve) => service.listen(0, resolve))
})
afterAll(() => {
  service.close()
})

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const ended = (program: string, args: ReadonlyArray<string>, env: Record<string, string> = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const { PATH, HOME } = process.env
    const child = spawn(program, args, {
      cwd: root,
      env: { PATH, HOME, ADMIN_KEY: adminKey, ORCHESTRATOR_URL: address(), MAINTAINER_URL: address(), ...env }
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (piece: Buffer) => {
      out += piece
    })
    child.stderr.on("data", (piece: Buffer) => {
      err += piece
    })
    child.once("close", (code) => resolve({ code, out, err }))
  })

/** As a person types it. */
const npm = (line: string, env?: Record<string, string>) => ended("npm", ["run", ...line.split(" ")], env)

const medipim = (line: string, env?: Record<string, string>) =>
  ended(process.execPath, ["--conditions=medipim-source", "packages/cli/src/main.ts", ...line.split(" ")], env)

const json = (body: unknown, status = 200) => ({ status, type: "application/json", body: JSON.stringify(body) })

describe("A service that is another one", () => {
  const fetcherStatus = { isRunning: false, currentJob: null, progress: null, uptimeSeconds: 5 }
  const page = (status: number) => ({ status, type: "text/html", body: "<!doctype html><title>Hello</title>" })
  const run = "20200101T000000Z-00000000"
  it.each([
    ["status", "the fetcher", json(fetcherStatus)],
    ["sync", "the fetcher", json({ _tag: "RouteNotFound" }, 404)],
    ["sync", "a JSON API", json({ ok: true }, 202)],
    ["runs", "a JSON API", json([])],
    ["status", "a page", page(200)],
    ["status", "a page that asks for a login", page(401)],
    ["sync", "a page that moved", page(302)],
    [`watch ${run}`, "a page", page(200)],
    [`watch ${run}`, "a page that is not there", page(404)],
    [`watch ${run}`, "a stream of something else", { ...json({ hello: "world" }), type: "application/x-ndjson" }],
    [`cancel ${run}`, "a page that is not there", page(404)]
  ])("is told by %s: %s", async (line, _, given) => {
    answer = given
    const address_ = address().replace("http://", "http://someone:a-secret@")
    const { code, out, err } = await medipim(line, { ORCHESTRATOR_URL: `${address_}?token=another-secret` })
    assert.strictEqual(code, 4, err)
    assert.include(err, `ORCHESTRATOR_URL (${address()}) is not the orchestrator of this version`)
    assert.notInclude(out + err, "secret")
  })

  it.each(["rejected", "replay"])("is told by %s, which asks the maintainer", async (line) => {
    answer = page(200)
    const { code, err } = await medipim(line)
    assert.strictEqual(code, 4, err)
    assert.include(err, `MAINTAINER_URL (${address()}) is not the maintainer of this version`)
  })

  it("is not what a proxy says while the service starts", async () => {
    answer = page(502)
    const { code, err } = await medipim("status")
    assert.strictEqual(code, 4, err)
    assert.include(err, "The orchestrator cannot be reached at")
  })

  it("is not blamed for wrong options", async () => {
    asked = 0
    for (const line of [
      "runs --limit 501",
      "sync --mode fetch-only --dry-run",
      "sync --mode nothing",
      "rejected --size 501"
    ]) {
      const { code, err } = await medipim(line)
      assert.strictEqual(code, 2, `${line}: ${err}`)
      assert.notInclude(err, "_URL")
    }
    assert.strictEqual(asked, 0)
  })
})

const runId = "20200101T000000Z-00000000"
const aRun: Run = {
  runId: RunId.make(runId),
  mode: "full",
  options: {},
  status: "running",
  phase: "fetching",
  snapshotId: null,
  progress: {
    ...noProgress,
    recordsFetched: 98_600,
    recordsTotal: 108_000,
    bytesFetched: 5e8,
    percent: 45,
    etaSeconds: 754
  },
  failure: null,
  startTime: "2020-01-01T00:00:00.000Z",
  endTime: null,
  published: false
}

/** What a terminal of so many columns shows after this. */
const screenOf = (text: string, columns: number): ReadonlyArray<string> => {
  const lines = [""]
  let at = 0
  for (const [piece] of text.matchAll(/\u001b\[2K|./gsu)) {
    if (piece === "\r") at = 0
    else if (piece === "\n") lines.push("")
    else if (piece === "\u001b[2K") lines[lines.length - 1] = ""
    else {
      if (at === columns) {
        lines.push("")
        at = 0
      }
      lines[lines.length - 1] = `${(lines.at(-1) ?? "").slice(0, at).padEnd(at)}${piece}`
      at++
    }
  }
  return lines
}

describe("The progress of a run", () => {
  const phases = [
    aRun,
    { ...aRun, phase: "idle", progress: noProgress },
    { ...aRun, phase: "publishing", progress: { ...aRun.progress, totalRecords: 108_000, percent: 90 } }
  ] as const
  const widths = Array.from({ length: 181 }, (_, i) => 20 + i)

  it("fits every terminal, with the ^C that one writes behind it, and says the percent in each", () => {
    for (const run of phases) {
      for (const columns of widths) {
        const line = progressLine(run, 12_345, columns)
        assert.isAtMost(line.length, columns - 3, line)
        assert.include(line, `${run.progress.percent} %`)
      }
    }
  })

  it("keeps the counts longest, then the time that is left, then the bar", () => {
    const at = (columns: number) => progressLine(aRun, 12_345, columns)
    assert.strictEqual(at(30), "fetching    45 %")
    assert.strictEqual(at(40), "fetching    45 %  98,600 of 108,000")
    assert.strictEqual(at(60), "fetching    45 %  98,600 of 108,000, 12 min 34 s left")
    assert.match(at(80), /^fetching {3}█+░+ {2}45 % {2}98,600 of 108,000, 12 min 34 s left$/)
    assert.match(at(200), /500 MB, 12,345\/s, 12 min 34 s left$/)
  })

  it("is followed on when its stream breaks, between two lines, in one or behind a proxy", async () => {
    const event = (tag: string, run: Run) => `${JSON.stringify({ _tag: tag, run })}\n`
    const progress = event("Progress", aRun)
    const pieces = [progress, `${progress}{"_tag":"Pro`, undefined, event("Finished", { ...aRun, status: "succeeded" })]
    let calls = 0
    const breaking = createServer((_, response) => {
      const piece = pieces[calls++]
      const type = piece === undefined ? "text/html" : "application/x-ndjson"
      response.writeHead(piece === undefined ? 502 : 200, { "content-type": type }).end(piece)
    })
    await new Promise<void>((resolve) => breaking.listen(0, resolve))
    const { code, out, err } = await medipim(`watch ${runId}`, {
      ORCHESTRATOR_URL: `http://localhost:${(breaking.address() as AddressInfo).port}`
    })
    breaking.close()
    assert.deepStrictEqual([code, calls], [0, 4], err)
    assert.include(out, `Sync ${runId} succeeded`)
  }, 30_000)

  it.skipIf(!existsSync("/usr/bin/script"))(
    "leaves nothing of its line behind when it is interrupted",
    async () => {
      answer = { status: 200, type: "application/x-ndjson", body: "" }
      stream = `${JSON.stringify({ _tag: "Progress", run: aRun })}\n`
      const command = `"${process.execPath}" --conditions=medipim-source packages/cli/src/main.ts watch ${runId}`
      const { PATH } = process.env
      const child = spawn("/usr/bin/script", ["-qec", `stty cols 40; ${command}`, "/dev/null"], {
        cwd: root,
        env: { PATH, ADMIN_KEY: adminKey, ORCHESTRATOR_URL: address() }
      })
      let shown = ""
      child.stdout.on("data", (piece: Buffer) => {
        const before = shown.split("98,600").length
        shown += piece
        if (before < 4 && shown.split("98,600").length >= 4) child.stdin.write("\u0003")
      })
      const code = await new Promise((resolve) => child.once("close", resolve))
      stream = ""
      assert.strictEqual(code, 130)
      assert.include(shown, "^C")
      const lines = screenOf(shown, 40)
      assert.match(lines.join(""), /^Sync 20200101T000000Z-00000000 goes on\. .*stops it\.$/)
      assert.strictEqual(lines.at(-1), "", "the prompt begins on a line of its own")
    },
    20_000
  )
})

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

  afterAll(() => {
    routes = {}
  })

  it("says how old a fresh catalogue is", async () => {
    const at = hoursAgo(3)
    routes = { "/status": told(at, false) }
    const { code, out, err } = await medipim("status")
    assert.strictEqual(code, 0, err)
    assert.include(out, `last published 3 h ago (${at})\n`)
    assert.notMatch(out, limits)
  })

  it("says why a catalogue is stale that was published just now, and has a code for it", async () => {
    routes = { "/status": told(hoursAgo(1), true, { requestedAt: hoursAgo(31) }) }
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
      routes = { "/status": told(hoursAgo(1), true, more) }
      const { code, out } = await medipim("status")
      assert.strictEqual(code, 6)
      assert.match(out, /^stale .* was not requested in the last 26 h by the clock of the database$/m)
    }
    routes = { "/status": told(null, true) }
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
      routes = {
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

describe("Options that npm keeps for itself", () => {
  const swallowed = {
    "medipim sync --dry-run": "npm run -s medipim -- sync --dry-run",
    "-s medipim sync --force --force-refresh": "npm run -s medipim -- sync --force-refresh --force",
    "medipim runs --limit 5": "npm run -s medipim -- runs --limit 5",
    "medipim sync --mode=maintain-only --offset=0 --json":
      "npm run -s medipim -- sync --json --mode maintain-only --offset 0",
    "medipim rejected --run-id 20200101T000000Z-00000000 --size 5":
      "npm run -s medipim -- rejected --run-id VALUE --size VALUE",
    "medipim --dry-run -- replay --reason x": "npm run -s medipim -- replay --reason x --dry-run"
  }
  it.each(Object.entries(swallowed))(
    "%s does nothing and shows the right form",
    async (line, right) => {
      asked = 0
      const { code, err } = await npm(line)
      assert.strictEqual(code, 2, err)
      assert.include(err, `  ${right}\n`)
      assert.strictEqual(asked, 0)
    },
    20_000
  )

  it("are none when nothing was swallowed, or what npm is set to stands in the command too", async () => {
    answer = { status: 200, type: "application/json", body: JSON.stringify({ runs: [] }) }
    for (const line of [
      "-s medipim -- runs --json",
      "-s --no-json medipim -- runs --json",
      "-s --json medipim -- runs --json"
    ]) {
      const { code, out, err } = await npm(line)
      assert.deepStrictEqual([code, out, err], [0, "[]\n", ""], line)
    }
  }, 20_000)

  it("are looked for under this script only", async () => {
    answer = { status: 200, type: "application/json", body: JSON.stringify({ runs: [] }) }
    const env = { npm_config_force: "true", npm_lifecycle_event: "nightly" }
    const args = ["--conditions=medipim-source", "packages/cli/src/main.ts", "runs", "--json"]
    assert.strictEqual((await ended(process.execPath, args, env)).code, 0)
  })
})
