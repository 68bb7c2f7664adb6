// What deploy.sh and rotate-admin-key.sh need of `.env`: which of its variables each app gets as a secret, whether they
// are there, and the change of the admin key. Values leave this program through a pipe only, never as an argument.
//
//   node fly/secrets.mjs check SERVICE...       names every problem; exits with 1 when there is one
//   node fly/secrets.mjs names SERVICE          the names of its secrets that are set
//   node fly/secrets.mjs lines SERVICE [NAME..] NAME="value" lines for `flyctl secrets import`
//   node fly/secrets.mjs unsent                 the names that are set and go to no app
//   node fly/secrets.mjs status URL [NAME]      the status that answers, 000 for none; NAME is sent as X-ADMIN-KEY
//   node fly/secrets.mjs organization           FLY_ORG, or personal
//   node fly/secrets.mjs rotating               exits with 0 while .env holds a previous admin key
//   node fly/secrets.mjs begin | end            writes a new admin key, keeping the old one as the previous; forgets that
import { randomBytes } from "node:crypto"
import { chmodSync, existsSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseEnv } from "node:util"
import { problemOf } from "../packages/domain/src/OperatorVariables.mjs"

const file = process.env.ENV_FILE || fileURLToPath(new URL("../.env", import.meta.url))

const previousKey = "ADMIN_KEY_PREVIOUS"
// The certificate is no secret, but as long as a page: it goes the way of the secrets.
const optional = [previousKey, "DATABASE_CA", "NOTIFY_URL"]
const store = ["SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"]
const database = ["DATABASE_URL", "DATABASE_CA"]

/** Only what the app itself needs: an intruder in the fetcher finds no database there. */
const secrets = {
  fetcher: ["ADMIN_KEY", previousKey, "MEDIPIM_API_KEY_ID", "MEDIPIM_API_KEY_SECRET", ...store],
  maintainer: ["ADMIN_KEY", previousKey, ...database, ...store],
  orchestrator: ["ADMIN_KEY", previousKey, ...database, "NOTIFY_URL"]
}

/** Read on this machine only: by the scripts and by the command line. */
const forTheOperator = ["FLY_ORG", "ORCHESTRATOR_URL"]

const variablesOf = (path) => (existsSync(path) ? parseEnv(readFileSync(path, "utf8")) : {})
const values = variablesOf(file)
const textOf = (name) => (values[name] ?? "").trim()
const isSet = (name) => textOf(name) !== ""
const secretsOf = (service) => secrets[service].filter(isSet)

const problemsOf = (name) => {
  if (optional.includes(name) && !isSet(name)) return []
  const problem = problemOf(name, values[name] ?? "")
  if (problem !== undefined) return [problem]
  if (name === "SUPABASE_URL" && !textOf(name).startsWith("https:")) {
    return [`${name} is not https://: from Fly the key would cross the internet in plain text`]
  }
  // The quotes that flyctl takes off have no escape in them.
  return textOf(name).includes('"') ? [`${name} holds a " that flyctl could not read`] : []
}

const say = (lines) => {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""))
}

/** In the first quotes in which the value is read as it is: without any, it would end at a #. */
const lineOf = (name, value) => {
  const lines = ['"', "'", "`"].map((quote) => `${name}=${quote}${value}${quote}`)
  const line = lines.find((text) => parseEnv(text)[name] === value)
  if (line === undefined) throw new Error(`${name} holds what no quotes of ${file} can hold; nothing was changed`)
  return line
}

/** Sets variables where they stand, or at the end; all other lines stay. A stop in the middle leaves the old file. */
const write = (changes) => {
  let text = readFileSync(file, "utf8")
  for (const [name, value] of Object.entries(changes)) {
    const line = lineOf(name, value)
    const place = new RegExp(`^[ \\t]*(export\\s+)?${name}[ \\t]*=.*$`, "gm")
    text = place.test(text) ? text.replace(place, () => line) : `${text.replace(/\n?$/, "\n")}${line}\n`
  }
  // Behind a link, such as into a password safe, it is the file that changes.
  const target = realpathSync(file)
  const fresh = `${target}.new`
  writeFileSync(fresh, text, { mode: 0o600 })
  chmodSync(fresh, 0o600)
  renameSync(fresh, target)
}

const commands = {
  check: (...services) => {
    const problems = new Set(services.flatMap((service) => secrets[service].flatMap(problemsOf)))
    say([...problems])
    return problems.size === 0 ? 0 : 1
  },
  names: (service) => say([secretsOf(service).join(" ")]),
  lines: (service, ...only) =>
    say(
      secretsOf(service)
        .filter((name) => only.length === 0 || only.includes(name))
        // flyctl reads lines; the services read \n as the end of one.
        .map((name) => `${name}="${textOf(name).replaceAll(/\r?\n/g, "\\n")}"`)
    ),
  unsent: () => {
    const examples = variablesOf(fileURLToPath(new URL("../.env.example", import.meta.url)))
    const known = [...Object.values(secrets).flat(), ...forTheOperator]
    const unsent = Object.keys(values).filter(
      (name) => isSet(name) && !known.includes(name) && textOf(name) !== (examples[name] ?? "").trim()
    )
    if (unsent.length > 0) say([unsent.join(" ")])
  },
  status: async (url, name) => {
    const headers = name === undefined ? {} : { "X-ADMIN-KEY": textOf(name) }
    try {
      // Long enough for a machine that has to be started first.
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(15_000) })
      say([answer.status])
    } catch {
      say(["000"])
    }
  },
  organization: () => say([textOf("FLY_ORG") || "personal"]),
  rotating: () => (isSet(previousKey) ? 0 : 1),
  begin: () => write({ ADMIN_KEY: randomBytes(24).toString("hex"), ADMIN_KEY_PREVIOUS: textOf("ADMIN_KEY") }),
  end: () => write({ ADMIN_KEY_PREVIOUS: "" })
}

const [command, ...args] = process.argv.slice(2)
process.exitCode = (await commands[command](...args)) ?? 0
