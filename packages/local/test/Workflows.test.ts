import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect } from "effect"
import { parse } from "yaml"
import { isDue } from "../../../.github/scripts/night.ts"
import { root } from "../src/Workspace.ts"
import { adminKey, ended, TestStack } from "./TestStack.ts"

interface Step {
  readonly id?: string
  readonly uses?: string
  readonly run?: string
  readonly env?: Readonly<Record<string, string>>
}
interface Workflow {
  readonly on: { readonly schedule?: ReadonlyArray<{ readonly cron: string }> }
  readonly permissions: unknown
  readonly concurrency: unknown
  readonly jobs: Readonly<Record<string, Job>>
}
interface Job {
  readonly "timeout-minutes": number
  readonly environment?: string
  readonly needs?: string
  readonly steps: ReadonlyArray<Step>
}

const textOf = (name: string): string => readFileSync(join(root, `.github/workflows/${name}.yml`), "utf8")
const workflowOf = (name: string): Workflow => parse(textOf(name))
const stepOf = (id: string): Step =>
  Object.values(workflowOf("sync").jobs)
    .flatMap(({ steps }) => steps)
    .find((step) => step.id === id) ?? assert.fail(`no step ${id}`)

const workflows = readdirSync(join(root, ".github/workflows")).map((file) => file.replace(/\.yml$/, ""))

describe.each(workflows)("The workflow %s", (name) => {
  const { permissions, concurrency, jobs } = workflowOf(name)
  const steps = Object.values(jobs).flatMap((job) => job.steps)

  it("takes actions by the digest of a commit, and tells their version", () => {
    const uses = [...textOf(name).matchAll(/uses: (.*)/g)].map(([, action]) => action)
    assert.isNotEmpty(uses)
    for (const action of uses) assert.match(action ?? "", /^[\w./-]+@[0-9a-f]{40} # v?\d+(\.\d+)+$/)
  })

  it("puts no expression into a shell", () => {
    for (const { run } of steps) assert.notInclude(run ?? "", "${{")
  })

  it("has no step that a linter of shell scripts would have to read", () => {
    for (const { run } of steps) assert.notInclude(run?.trim() ?? "", "\n")
  })

  it("gives a secret only to a job of an environment", () => {
    for (const [job, { environment }] of Object.entries(jobs)) {
      if (JSON.stringify(jobs[job]).includes("secrets.")) assert.isDefined(environment, job)
    }
  })

  it("may read the code and no more, one at a time and not for ever", () => {
    assert.deepEqual(permissions, { contents: "read" })
    assert.isDefined(concurrency)
    for (const job of Object.values(jobs)) assert.isAtMost(job["timeout-minutes"], 180)
  })
})

describe("The secrets of GitHub", () => {
  const said = ["docs/fly-deployment.md", "docs/security.md", "fly/deploy.sh", "fly/rotate-admin-key.sh"]

  it.each(said)("are set by %s in the environment whose job reads them", (file) => {
    const commands = [...readFileSync(join(root, file), "utf8").matchAll(/gh secret set (\w+)(?: --env (\w+))?/g)]
    assert.isNotEmpty(commands)
    for (const [command, secret, environment] of commands) {
      const readers = workflows
        .flatMap((name) => Object.values(workflowOf(name).jobs))
        .filter((job) => JSON.stringify(job).includes(`secrets.${secret} `))
      assert.isNotEmpty(readers, command)
      for (const reader of readers) assert.strictEqual(reader.environment, environment, command)
    }
  })
})

describe("deploy.yml", () => {
  it("deploys nothing that was not checked and tested first", () => {
    const { check, deploy } = workflowOf("deploy").jobs
    assert.strictEqual(deploy?.needs, "check")
    assert.deepEqual(
      check?.steps.flatMap(({ run }) => run ?? []),
      ["npm ci", "npm run check", "npm test"]
    )
  })

  it("deploys by the script, with options that it knows", () => {
    const { deploy } = workflowOf("deploy").jobs
    assert.strictEqual(deploy?.steps.at(-1)?.run, 'fly/deploy.sh --yes --keep-secrets --only "$ONLY"')
  })
})

const hour = 60 * 60 * 1000
const day = 24 * hour
const inSydney = new Intl.DateTimeFormat("sv-SE", {
  timeZone: "Australia/Sydney",
  dateStyle: "short",
  timeStyle: "short"
})

describe("The night of the sync", () => {
  const crons = (workflowOf("sync").on.schedule ?? []).map(({ cron }) => cron)
  /** Every start that GitHub makes in ten years, as local time in Sydney, of those that go on. */
  const nights = (lateBy: number): ReadonlyArray<string> => {
    const starts: Array<string> = []
    for (let midnight = Date.UTC(2026, 0, 1); midnight < Date.UTC(2036, 0, 1); midnight += day) {
      for (const cron of crons) {
        const at = midnight + Number(cron.split(" ")[1]) * hour
        if (isDue(cron, at + lateBy)) starts.push(inSydney.format(at))
      }
    }
    return starts
  }

  it("comes once a day for ten years, at 2 AM, and at 3 AM when clocks go forward", () => {
    const starts = nights(0)
    const days = starts.map((start) => start.slice(0, 10))
    assert.strictEqual(new Set(days).size, days.length, "no day twice")
    assert.strictEqual(days.length, 3652, "no day left out")
    for (const start of starts) {
      const isFirstSundayOfOctober = /-10-0[1-7] /.test(start) && new Date(start.slice(0, 10)).getUTCDay() === 0
      assert.strictEqual(start.slice(11), isFirstSundayOfOctober ? "03:00" : "02:00", start)
    }
  })

  it("is the same one when GitHub starts late", () => {
    for (const late of [60_000, hour, 6 * hour, 23 * hour]) assert.deepEqual(nights(late), nights(0))
  })
})

const products = 400

interface Played {
  readonly code: number
  readonly said: string
  readonly summary: string
}

/** Runs the script of a step as GitHub does, with these variables for its environment. */
const play = (id: string, env: Readonly<Record<string, string>>): Effect.Effect<Played> =>
  Effect.promise(
    () =>
      new Promise((resolve) => {
        const dir = mkdtempSync(join(tmpdir(), "medipim-job-"))
        const file = join(dir, "file")
        const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", stepOf(id).run ?? ""], {
          cwd: root,
          stdio: ["ignore", "pipe", "pipe"],
          env: {
            PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
            GITHUB_STEP_SUMMARY: file,
            GITHUB_OUTPUT: file,
            POLL_SECONDS: "0.1",
            PATIENCE_SECONDS: "1",
            ...env
          }
        })
        let said = ""
        for (const output of [child.stdout, child.stderr]) {
          output.on("data", (piece: Buffer) => {
            said += piece
          })
        }
        child.on("close", (code) => {
          let summary = ""
          try {
            summary = readFileSync(file, "utf8")
          } catch {
            // The step wrote none.
          }
          rmSync(dir, { recursive: true })
          resolve({ code: code ?? 1, said, summary })
        })
      })
  )

const syncJob = Effect.fnUntraced(function* (env: Readonly<Record<string, string>> = {}) {
  const { addresses } = yield* TestStack
  return yield* play("sync", {
    ORCHESTRATOR_URL: addresses.ORCHESTRATOR_URL ?? "",
    MEDIPIM_ADMIN_KEY: adminKey,
    ...env
  })
})
const lastRun = Effect.gen(function* () {
  const client = yield* OrchestratorClient
  return (yield* client.runs({ query: { limit: 1 } })).runs[0] ?? assert.fail("no run")
})
const runCount = Effect.gen(function* () {
  const client = yield* OrchestratorClient
  return (yield* client.runs({ query: {} })).runs.length
})

layer(TestStack.layer(products), { excludeTestServices: true, timeout: "120 seconds" })("sync.yml", (it) => {
  it.effect("gives its script all that the script reads, and the key as a secret", () =>
    Effect.sync(() => {
      const script = readFileSync(join(root, ".github/scripts/sync.ts"), "utf8")
      const read = [...script.matchAll(/(?:variable|wholeNumber)\("([A-Z_]+)"/g)].map(([, name]) => name)
      const { env = {} } = stepOf("sync")
      const others = ["POLL_SECONDS", "PATIENCE_SECONDS", "GITHUB_STEP_SUMMARY"]
      assert.sameMembers(
        Object.keys(env),
        [...new Set(read)].filter((name) => !others.includes(name ?? ""))
      )
      // biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of GitHub
      assert.strictEqual(env.MEDIPIM_ADMIN_KEY, "${{ secrets.MEDIPIM_ADMIN_KEY }}")
      assert.include(env.ORCHESTRATOR_URL, "https://medipim-orchestrator.fly.dev")
    })
  )

  it.effect("tells whether it is the night's start", () =>
    Effect.gen(function* () {
      const { code, summary } = yield* play("night", { CRON: "0 15 * * *" })
      assert.strictEqual(code, 0)
      assert.match(summary, /^due=(true|false)\n$/)
    })
  )

  it.effect("is green when the sync succeeds, and shows the counts", () =>
    Effect.gen(function* () {
      const { code, said, summary } = yield* syncJob()
      assert.strictEqual(code, 0, said)
      assert.include(said, `::notice::Run ${(yield* lastRun).runId} succeeded: ${products} inserted`)
      assert.include(summary, "## Sync succeeded")
      assert.include(summary, `| Inserted | ${products} |`)
      assert.notInclude(said + summary, adminKey)
    })
  )

  it.effect("hands on every input, and leaves out those that are empty", () =>
    Effect.gen(function* () {
      const { code, said } = yield* syncJob({
        SYNC_MODE: "maintain-only",
        SYNC_CHUNK_SIZE: "100",
        SYNC_OFFSET: "10",
        SYNC_LIMIT: "50",
        SYNC_FORCE_REFRESH: "false",
        SYNC_DEBUG: "true"
      })
      assert.strictEqual(code, 0, said)
      const run = yield* lastRun
      assert.deepEqual(run.options, { mode: "maintain-only", chunkSize: 100, offset: 10, limit: 50, debug: true })
      assert.strictEqual((yield* syncJob({ SYNC_MODE: "full", SYNC_FORCE_REFRESH: "true" })).code, 0)
      assert.deepEqual((yield* lastRun).options, { mode: "full", forceRefresh: true })
    })
  )

  it.effect("names every bad input at once, and starts nothing", () =>
    Effect.gen(function* () {
      const before = yield* runCount
      const { code, said } = yield* syncJob({
        SYNC_MODE: "$(id)",
        SYNC_CHUNK_SIZE: "99",
        SYNC_OFFSET: "-1",
        SYNC_LIMIT: "many",
        MEDIPIM_ADMIN_KEY: ""
      })
      assert.strictEqual(code, 1)
      for (const name of ["SYNC_MODE", "SYNC_CHUNK_SIZE", "SYNC_OFFSET", "SYNC_LIMIT", "secret MEDIPIM_ADMIN_KEY"]) {
        assert.include(said, name)
      }
      assert.notInclude(said, "uid=")
      assert.strictEqual(yield* runCount, before)
    })
  )

  it.effect("tells what the orchestrator finds wrong", () =>
    Effect.gen(function* () {
      const { code, said } = yield* syncJob({ SYNC_MODE: "notification-only", SYNC_LIMIT: "5" })
      assert.strictEqual(code, 1)
      assert.match(said, /::error::the orchestrator refused with 400: .*limit/)
    })
  )

  it.effect("is red when the sync fails, and tells why", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      yield* control("POST /control/faults", { fault: "refused", times: 10 })
      const { code, said, summary } = yield* syncJob({ SYNC_FORCE_REFRESH: "true" })
      yield* control("DELETE /control/faults")
      assert.strictEqual(code, 1)
      assert.match(said, /::error::run \S+ failed, MediPimError: /)
      assert.include(summary, "## Sync failed")
      assert.include(summary, "**MediPimError**")
      assert.include(summary, "nothing was changed")
    })
  )

  it.effect("follows the sync that is running already, to its end and its colour", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const client = yield* OrchestratorClient
      yield* control("POST /control/faults", { fault: "slow-drip", delayMs: 5 })
      const { runId } = yield* client.sync({ payload: { forceRefresh: true } })
      const { code, said, summary } = yield* syncJob({ SYNC_LIMIT: "7" })
      assert.strictEqual(code, 0, said)
      assert.include(said, `::notice::A sync is running already; this job follows run ${runId}`)
      assert.include(said, '{"limit":7}')
      assert.include(summary, runId)
      assert.strictEqual((yield* ended(runId)).status, "succeeded")
    })
  )

  it.effect("is red when nobody answers, or the key is not known", () =>
    Effect.gen(function* () {
      const away = yield* syncJob({ ORCHESTRATOR_URL: "http://127.0.0.1:9" })
      assert.strictEqual(away.code, 1)
      assert.include(away.said, "does not answer")
      const stranger = yield* syncJob({ MEDIPIM_ADMIN_KEY: "not-the-key-of-the-orchestrator-at-all" })
      assert.strictEqual(stranger.code, 1)
      assert.include(stranger.said, "does not know this MEDIPIM_ADMIN_KEY")
    })
  )
})
