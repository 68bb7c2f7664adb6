import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { connect, createServer } from "node:net"
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { freePort } from "../../src/EmbeddedPostgres.ts"
import { root } from "../../src/Workspace.ts"

/** How long nothing of a stack may be left after its supervisor is gone. */
const goneWithin = 15_000

const portVariables = [
  "FETCHER_PORT",
  "MAINTAINER_PORT",
  "ORCHESTRATOR_PORT",
  "SIMULATOR_PORT",
  "POSTGRES_PORT",
  "METRICS_PORT"
]

const freePorts = async (): Promise<Record<string, string>> =>
  Object.fromEntries(await Promise.all(portVariables.map(async (name) => [name, String(await freePort())])))

/** Programs that carry the mark of one start in their environment. */
const marked = (mark: string): ReadonlyArray<string> =>
  execFileSync("ps", ["-eo", "pid=,args=", "e"], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })
    .split("\n")
    .filter((line) => line.includes(`MEDIPIM_LOCAL_DIR=${mark}`) && !line.includes(" ps "))

/** Where a developer may keep the real products: nothing listens there, so touching it fails the start. */
const production = "postgres://operator@127.0.0.1:9/production"

const folders: Array<string> = []
const children: Array<ChildProcess> = []

const folder = (): string => {
  const dir = execFileSync("mktemp", ["-d"], { encoding: "utf8" }).trim()
  execFileSync("chmod", ["755", dir])
  folders.push(dir)
  return dir
}

const start = async (args: ReadonlyArray<string>, ports?: Record<string, string>, dir = folder()) => {
  const child = spawn(
    process.execPath,
    ["--conditions=medipim-source", join(root, "packages/local/src/main.ts"), ...args],
    {
      env: {
        ...process.env,
        ...(ports ?? (await freePorts())),
        MEDIPIM_LOCAL_DIR: dir,
        ADMIN_KEY: "k".repeat(40),
        DATABASE_URL: production
      }
    }
  )
  children.push(child)
  let said = ""
  for (const output of [child.stdout, child.stderr]) {
    output.on("data", (piece: Buffer) => {
      said += piece
    })
  }
  const exited = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? ""))
  })
  const until = async (text: string): Promise<void> => {
    for (let i = 0; i < 600 && !said.includes(text); i++) await sleep(100)
    assert.isTrue(said.includes(text), said)
  }
  return { child, dir, exited, until, said: () => said }
}

const nothingLeft = async (dir: string): Promise<void> => {
  for (let waited = 0; waited < goneWithin && marked(dir).length > 0; waited += 100) await sleep(100)
  assert.deepStrictEqual(marked(dir), [])
}

const answers = (host: string, port: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(Number(port), host, () => resolve(true))
    socket.on("connect", () => socket.destroy()).on("error", () => resolve(false))
  })

describe("npm start", () => {
  afterAll(() => {
    for (const child of children) child.kill("SIGKILL")
    for (const dir of folders) execFileSync("rm", ["-rf", dir])
  })

  it("ends after the sync with --once, and finds its data again", async () => {
    const ports = await freePorts()
    const first = await start(["--once", "--products", "150"], ports)
    assert.strictEqual(await first.exited, 0, first.said())
    assert.match(first.said(), /150 inserted/)
    await nothingLeft(first.dir)
    const second = await start(["--once", "--products", "150"], ports, first.dir)
    assert.strictEqual(await second.exited, 0, second.said())
    assert.match(second.said(), /150 unchanged/)
  }, 90_000)

  it("leaves nothing behind on Ctrl-C, and is told the way on", async () => {
    const ports = await freePorts()
    const { child, dir, exited, until } = await start(["--products", "150"], ports)
    await until("npm run -s medipim -- sync")
    const others = Object.values(networkInterfaces()).flatMap((all = []) => all.filter(({ internal }) => !internal))
    const metrics = [1, 2].map((n) => String(Number(ports.METRICS_PORT) + n))
    for (const port of [...Object.values(ports), ...metrics]) {
      assert.isTrue(await answers("127.0.0.1", port), port)
      for (const { address } of others) assert.isFalse(await answers(address, port), `${address}:${port}`)
    }
    assert.isAbove(marked(dir).length, 5)
    assert.isTrue(existsSync(join(dir, "stack.env")), "the command line finds the stack")
    child.kill("SIGINT")
    await exited
    await nothingLeft(dir)
    assert.isFalse(existsSync(join(dir, "stack.env")), "and no longer when it is gone")
  }, 90_000)

  it("leaves nothing behind when it is killed in the middle of the sync, and goes on with it", async () => {
    const { child, dir, exited, until } = await start(["--products", "5000"])
    await until("fetching")
    child.kill("SIGKILL")
    assert.strictEqual(await exited, "SIGKILL")
    await nothingLeft(dir)
    const again = await start(["--once", "--products", "5000"], undefined, dir)
    assert.strictEqual(await again.exited, 0, again.said())
    assert.match(again.said(), /5,000 inserted/)
  }, 120_000)

  it("names the ports that are taken and the variables that move them", async () => {
    const ports = await freePorts()
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(Number(ports.MAINTAINER_PORT), "::", resolve))
    const { exited, said, dir } = await start(["--once"], ports)
    assert.strictEqual(await exited, 1)
    assert.include(said(), `${ports.MAINTAINER_PORT} (MAINTAINER_PORT)`)
    assert.notInclude(said(), "FETCHER_PORT")
    await new Promise((resolve) => blocker.close(resolve))
    await nothingLeft(dir)
  }, 60_000)
})
