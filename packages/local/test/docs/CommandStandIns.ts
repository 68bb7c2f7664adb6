// Stands in for the programs that the documents use and that a machine need not have, or that would be slow or reach out:
// curl, jq, npm, gh, apk. What it does not know is an error, so that the documents show nothing that was not tried.
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../src/Workspace.ts"

export const standIns = ["curl", "jq", "npm", "gh", "apk"] as const

const fails = (message: string): number => {
  process.stderr.write(`${message}\n`)
  return 1
}

/** The options that the documents use: -s and -N change nothing here. */
const curl = async (args: ReadonlyArray<string>): Promise<number> => {
  let method = "GET"
  let url = ""
  const headers = new Headers()
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ""
    if (arg === "-X") method = args[++i] ?? ""
    else if (arg === "-H") {
      const text = args[++i] ?? ""
      const [name = "", value = ""] = (text.startsWith("@") ? readFileSync(text.slice(1), "utf8") : text).split(/:\s*/)
      headers.set(name, value.trim())
    } else if (/^https?:/.test(arg)) url = arg
    else if (!/^-s?N?$/.test(arg)) return fails(`curl: option ${arg} is unknown to the stand-in`)
  }
  const answer = await fetch(url, { method, headers })
  process.stdout.write(await answer.text())
  return answer.status < 400 ? 0 : fails(`curl: ${url} answered ${answer.status}`)
}

/** A path such as .progress of what comes in. */
const jq = ([path = ""]: ReadonlyArray<string>): number => {
  if (!/^(\.\w+)+$/.test(path)) return fails(`jq: ${path} is unknown to the stand-in`)
  const found = path
    .slice(1)
    .split(".")
    .reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], JSON.parse(readFileSync(0, "utf8")))
  if (found === undefined) return fails(`jq: there is nothing at ${path}`)
  process.stdout.write(`${JSON.stringify(found)}\n`)
  return 0
}

/** `npm run -s medipim -- ...` without the time that npm takes to start. */
const npm = ([run, silent, script, dashes, ...args]: ReadonlyArray<string>): number =>
  run === "run" && silent === "-s" && script === "medipim" && dashes === "--"
    ? (spawnSync(process.execPath, ["--conditions=medipim-source", "packages/cli/src/main.ts", ...args], {
        cwd: root,
        stdio: "inherit"
      }).status ?? 1)
    : fails(`npm: ${run} ${silent} ${script} is unknown to the stand-in`)

/** Knows the workflows of this repository and their inputs. */
const gh = async ([group, verb, ...args]: ReadonlyArray<string>): Promise<number> => {
  if (`${group} ${verb}` === "secret set") return /^[A-Z_]+$/.test(args[0] ?? "") ? 0 : fails("gh: no such secret")
  const named = `${group} ${verb}` === "run list" && args[0] === "--workflow" ? args[1] : args[0]
  const file = join(root, ".github/workflows", named ?? "")
  if (!existsSync(file)) return fails(`gh: there is no workflow ${named}`)
  if (`${group} ${verb}` === "run list") return 0
  if (`${group} ${verb}` !== "workflow run") return fails(`gh: ${group} ${verb} is unknown to the stand-in`)
  const { parse } = await import("yaml")
  const { inputs } = parse(readFileSync(file, "utf8")).on.workflow_dispatch as { readonly inputs: object }
  const unknown = args.filter((arg) => arg.includes("=") && !(arg.split("=")[0] ?? "" in inputs))
  return unknown.length === 0 ? 0 : fails(`gh: ${file} has no input ${unknown}`)
}

/** Alpine's: what it installs is there already. */
const apk = (args: ReadonlyArray<string>): number =>
  args.join(" ") === "add --no-cache curl" ? 0 : fails(`apk: ${args.join(" ")} is unknown to the stand-in`)

if (import.meta.main) {
  const [name = "", ...args] = process.argv.slice(2)
  process.exitCode = await { curl, jq, npm, gh, apk }[name as (typeof standIns)[number]](args)
}
