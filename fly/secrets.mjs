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

const file = process.env.ENV_FILE || fileURLToPath(new URL("../.env", import.meta.url))

const adminKey = { name: "ADMIN_KEY", form: /^\S{32,}$/, expects: "at least 32 characters without blanks" }
const previousKey = { ...adminKey, name: "ADMIN_KEY_PREVIOUS", optional: true }
const databaseUrl = {
  name: "DATABASE_URL",
  // 6543 is the port of Supabase's transaction pooler, on which prepared statements and locks of a session do not hold.
  form: /^postgres(ql)?:\/\/(?!\S*:6543(\/|\?|$))\S+$/,
  expects:
    "a postgres:// address: the direct connection or the session pooler (5432), not the transaction pooler (6543)"
}
// No secret, but as long as a page: it goes the way of the secrets.
const databaseCa = {
  name: "DATABASE_CA",
  form: /^-----BEGIN CERTIFICATE-----(\s|\\n)/,
  expects: "a certificate in PEM form",
  optional: true
}
const store = [
  { name: "SUPABASE_URL", form: /^https:\/\/\S+$/, expects: "https://<project>.supabase.co" },
  {
    name: "SUPABASE_SERVICE_ROLE_KEY",
    form: /^\S+$/,
    expects: "a secret key without blanks, sb_secret_...",
    // It looks like a key of the project, and may not write.
    problem: (key) =>
      key.startsWith("sb_publishable_") ? "is the publishable key: use the secret key, sb_secret_..." : undefined
  }
]

/** Only what the app itself needs: whoever gets into the fetcher finds no database there. */
const secrets = {
  fetcher: [
    adminKey,
    previousKey,
    { name: "MEDIPIM_API_KEY_ID", form: /^\S+$/, expects: "the id of the MediPim API key" },
    { name: "MEDIPIM_API_KEY_SECRET", form: /^\S+$/, expects: "the secret of the MediPim API key" },
    ...store
  ],
  maintainer: [adminKey, previousKey, databaseUrl, databaseCa, ...store],
  orchestrator: [
    adminKey,
    previousKey,
    databaseUrl,
    databaseCa,
    { name: "NOTIFY_URL", form: /^https?:\/\/\S+$/, expects: "an http:// or https:// address", optional: true }
  ]
}

/** Read on this machine only: by the scripts and by the command line. */
const forTheOperator = ["FLY_ORG", "ORCHESTRATOR_URL"]

const variablesOf = (path) => (existsSync(path) ? parseEnv(readFileSync(path, "utf8")) : {})
const values = variablesOf(file)
const textOf = (name) => (values[name] ?? "").trim()
const isSet = ({ name }) => textOf(name) !== ""
const secretsOf = (service) => secrets[service].filter(isSet)

const problemOf = (secret) => {
  if (!isSet(secret)) return secret.optional ? [] : [`${secret.name} is missing: ${secret.expects}`]
  const problem = secret.problem?.(textOf(secret.name))
  if (problem !== undefined) return [`${secret.name} ${problem}`]
  if (!secret.form.test(textOf(secret.name))) return [`${secret.name} is not ${secret.expects}`]
  // The quotes that flyctl takes off have no escape in them.
  return textOf(secret.name).includes('"') ? [`${secret.name} holds a " that flyctl could not read`] : []
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
    const problems = new Set(services.flatMap((service) => secrets[service].flatMap(problemOf)))
    say([...problems])
    return problems.size === 0 ? 0 : 1
  },
  names: (service) =>
    say([
      secretsOf(service)
        .map(({ name }) => name)
        .join(" ")
    ]),
  lines: (service, ...only) =>
    say(
      secretsOf(service)
        .filter(({ name }) => only.length === 0 || only.includes(name))
        // flyctl reads lines; the services read \n as the end of one.
        .map(({ name }) => `${name}="${textOf(name).replaceAll(/\r?\n/g, "\\n")}"`)
    ),
  unsent: () => {
    const examples = variablesOf(fileURLToPath(new URL("../.env.example", import.meta.url)))
    const known = [...Object.values(secrets).flat(), ...forTheOperator.map((name) => ({ name }))].map(
      ({ name }) => name
    )
    const unsent = Object.keys(values).filter(
      (name) => isSet({ name }) && !known.includes(name) && textOf(name) !== (examples[name] ?? "").trim()
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
