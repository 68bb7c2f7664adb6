import { spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { parseEnv } from "node:util"
import { nodeCache } from "@medipim/testing/NodeCache"
import { Effect } from "effect"
import { root } from "../../src/Workspace.ts"
import type { App, Call, FlyState } from "./FlyctlStandIn.ts"

/** Values that no output and no argument may ever show. */
export const environment = {
  ADMIN_KEY: "admin-key-of-the-operator-0123456789abcdef",
  MEDIPIM_API_KEY_ID: "medipim-key-id-42",
  MEDIPIM_API_KEY_SECRET: "medipim-secret#with-a-hash",
  SUPABASE_URL: "https://project-of-the-test.supabase.co",
  SUPABASE_SERVICE_ROLE_KEY: "service-role-key-of-the-test",
  DATABASE_URL: "postgres://u:secret-of-the-database@db.test:5432/postgres"
}
export type Variables = Readonly<Record<string, string>>

interface Result {
  readonly code: number
  /** Standard output and errors, as a person would see them. */
  readonly said: string
}

/** A variable as `.env` holds it. */
export const lineOf = ([name, value]: [string, string]): string => `${name}="${value}"\n`

/** A Fly of our own: a recording flyctl, the apps behind their addresses, and the `.env` of an operator. */
export const flyHouse = Effect.acquireRelease(
  Effect.promise(async () => {
    const dir = mkdtempSync(join(tmpdir(), "medipim-fly-"))
    const file = (name: string) => join(dir, name)
    const read = (): FlyState => JSON.parse(readFileSync(file("state.json"), "utf8"))
    const set = (changes: Partial<FlyState>): void =>
      writeFileSync(file("state.json"), JSON.stringify({ ...read(), ...changes }))
    const setEnv = (variables: Variables): void =>
      writeFileSync(file(".env"), `# kept\n${Object.entries(variables).map(lineOf).join("")}`)

    mkdirSync(file("bin"))
    const flyctl = `#!/bin/sh\nexec "${process.execPath}" "${join(import.meta.dirname, "FlyctlStandIn.ts")}" "$@"\n`
    writeFileSync(file("bin/flyctl"), flyctl, { mode: 0o755 })
    writeFileSync(file("state.json"), JSON.stringify({ loggedIn: true, apps: {} }))
    setEnv(environment)

    /** Answers as the app would that has these secrets: /<app>/healthz and /<app>/status. */
    const server = createServer((request, response) => {
      const [, name = "", route] = (request.url ?? "").split("/")
      const app: App | undefined = read().apps[name]
      const keys = [app?.secrets.ADMIN_KEY, app?.secrets.ADMIN_KEY_PREVIOUS].filter((key) => key !== undefined)
      const alive = app !== undefined && Object.keys(app.secrets).length > 0 && read().ill !== name
      const known = route === "healthz" || keys.includes(String(request.headers["x-admin-key"]))
      response.writeHead(alive ? (known ? 200 : 401) : 503).end()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

    /** What a shell needs to find this Fly instead of the real one. */
    const surroundings: Variables = {
      ...nodeCache,
      PATH: `${file("bin")}:${dirname(process.execPath)}:/usr/bin:/bin`,
      FLY_STAND_IN: dir,
      ENV_FILE: file(".env"),
      APP_URL: `${address}/%s`,
      HEALTH_TRIES: "2",
      HEALTH_PAUSE: "0"
    }

    const spawned = (command: string, args: ReadonlyArray<string> = [], env: Variables = {}): Promise<Result> =>
      new Promise((resolve) => {
        const child = spawn(command, args, {
          cwd: dir,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...surroundings, ...env }
        })
        let said = ""
        for (const output of [child.stdout, child.stderr]) {
          output.on("data", (piece: Buffer) => {
            said += piece
          })
        }
        child.on("close", (code) => resolve({ code: code ?? 1, said }))
      })

    const run = (script: string, ...rest: [args?: ReadonlyArray<string>, env?: Variables]): Promise<Result> =>
      spawned(join(root, "fly", script), ...rest)

    const calls = (): ReadonlyArray<Call> =>
      existsSync(file("calls.jsonl"))
        ? readFileSync(file("calls.jsonl"), "utf8")
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line) as Call)
        : []
    return {
      run,
      spawned,
      dir,
      surroundings,
      state: read,
      set,
      setEnv,
      env: (): Variables => parseEnv(readFileSync(file(".env"), "utf8")) as Variables,
      setEnvText: (text: string) => writeFileSync(file(".env"), text),
      envText: () => readFileSync(file(".env"), "utf8"),
      calls,
      /** What flyctl was asked to do since the start or the last `forget`, without the questions. */
      commands: () =>
        calls()
          .map(({ command }) => command)
          .filter(
            (command) =>
              command !== "auth whoami" && command !== "apps list --quiet" && !command.startsWith("secrets list")
          ),
      forget: () => rmSync(file("calls.jsonl"), { force: true }),
      withoutFlyctl: () => rmSync(file("bin/flyctl")),
      close: () => {
        server.close()
        server.closeAllConnections()
        rmSync(dir, { recursive: true })
      }
    }
  }),
  ({ close }) => Effect.sync(close)
)
