import { spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { root } from "../src/Workspace.ts"

const adminKey = "test-key-of-forty-characters-0123456789ab"

/** A service that answers whatever a test wants, and counts how often it is asked. */
let asked = 0
let answer: { readonly status: number; readonly type: string; readonly body: string }
const service = createServer((_, response) => {
  asked++
  response.writeHead(answer.status, { "content-type": answer.type }).end(answer.body)
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

describe("A service that is another one", () => {
  const fetcherStatus = { isRunning: false, currentJob: null, progress: null, uptimeSeconds: 5 }
  const json = (body: unknown, status = 200) => ({ status, type: "application/json", body: JSON.stringify(body) })
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
