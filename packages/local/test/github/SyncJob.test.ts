import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect } from "effect"
import { root } from "../../src/Workspace.ts"
import { adminKey, ended, TestStack } from "../system/TestStack.ts"
import { stepOf } from "./WorkflowFiles.ts"

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
