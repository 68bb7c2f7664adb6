// Stands in for `flyctl`: writes down how it was called, and answers from a state that the test sees and sets.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { misunderstood } from "./FlyctlCommands.ts"
import { withYourNames } from "./FlyNames.ts"

export interface App {
  readonly org: string
  readonly staged: Record<string, string>
  /** What its machines have. */
  readonly secrets: Record<string, string>
  readonly releases: number
}

export interface FlyState {
  readonly loggedIn: boolean
  readonly apps: Record<string, App>
  /** The command that fails, by how it begins. */
  readonly failing?: string
  /** The command that says it did what it did not do, by how it begins. */
  readonly pretending?: string
  /** The secret that no machine gets any more, though flyctl took it. */
  readonly losing?: string
  /** The app that answers no health check. */
  readonly ill?: string
}

export interface Call {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly stdin: string
  /** The secrets of all machines after the call. */
  readonly machines: Record<string, Record<string, string>>
}

const folder = process.env.FLY_STAND_IN
if (folder !== undefined) {
  const stateFile = `${folder}/state.json`
  const state = JSON.parse(readFileSync(stateFile, "utf8")) as FlyState
  const args = process.argv.slice(2).map(withYourNames)
  const command = args.join(" ")
  const stdin = command.startsWith("secrets import") ? readFileSync(0, "utf8") : ""
  const option = (name: string): string => args[args.indexOf(name) + 1] ?? ""
  const apps = { ...state.apps }

  const fails = (message: string): never => {
    process.stderr.write(`Error: ${message}\n`)
    write()
    process.exit(1)
  }
  const write = (): void => {
    writeFileSync(stateFile, JSON.stringify({ ...state, apps }))
    const machines = Object.fromEntries(Object.entries(apps).map(([name, { secrets }]) => [name, secrets]))
    appendFileSync(`${folder}/calls.jsonl`, `${JSON.stringify({ command, args, stdin, machines })}\n`)
  }
  const change = (changed: (app: App) => Partial<App>): void => {
    const name = option("--app")
    const app = apps[name] ?? fails(`Could not find App "${name}"`)
    if (state.pretending === undefined || !command.startsWith(state.pretending))
      apps[name] = { ...app, ...changed(app) }
  }
  const without = (secrets: Record<string, string>, name?: string): Record<string, string> =>
    Object.fromEntries(Object.entries(secrets).filter(([other]) => other !== name))
  /** As flyctl reads them: one pair of quotes around a value is taken off. */
  const pairs = (): Record<string, string> =>
    Object.fromEntries(
      stdin
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => [line.split("=")[0], line.slice(line.indexOf("=") + 1).replace(/^"(.*)"$/, "$1")])
    )

  if (state.failing !== undefined && command.startsWith(state.failing)) fails("as the test wishes")
  if (!state.loggedIn) fails("No access token available. Please login with 'flyctl auth login'")
  if (command === "auth whoami") process.stdout.write("operator@example.org\n")
  else if (command === "apps list --quiet") process.stdout.write(`${Object.keys(apps).join("   \n")}   \n`)
  else if (command.startsWith("apps create")) {
    const name = args[2] ?? ""
    if (apps[name] !== undefined) fails("Name has already been taken")
    apps[name] = { org: option("--org"), staged: {}, secrets: {}, releases: 0 }
  } else if (command.startsWith("secrets import --stage")) {
    change(({ staged }) => ({ staged: { ...staged, ...pairs() } }))
  } else if (command.startsWith("secrets unset")) {
    change(({ staged }) => ({ staged: without(staged, args[2]) }))
  } else if (command.startsWith("secrets deploy")) {
    change(({ staged }) => ({ secrets: without(staged, state.losing) }))
  } else if (command.startsWith("deploy .")) {
    if (!existsSync(option("--config"))) fails("there is no such configuration file")
    change(({ staged, releases }) => ({ secrets: staged, releases: releases + 1 }))
  } else {
    const problem = misunderstood(args, Object.keys(apps))
    if (problem !== undefined) fails(problem)
    if (command.startsWith("secrets list")) {
      const names = Object.keys(apps[option("--app")]?.staged ?? {})
      process.stdout.write(["NAME │ DIGEST", ...names.map((name) => `${name} │ 0123456789abcdef`), ""].join("\n"))
    }
  }
  write()
}
