import { isIP } from "node:net"
import { headerProblem } from "@medipim/http-api/AdminKey"
import { Duration, Redacted, Schema, SchemaTransformation } from "effect"
import { type Form, optional, required, unless, withDefault } from "./Settings.ts"

/** The forms in which the variables of all services are written. */
export const text: Form<string> = { schema: Schema.NonEmptyString, expects: "text" }

export const wholeNumber = (minimum: number, maximum: number): Form<number> => ({
  schema: Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum })),
  expects: `a whole number from ${minimum} to ${maximum}`
})
export const port = wholeNumber(1, 65_535)

const secretOf = (pattern: RegExp): Form<Redacted.Redacted>["schema"] =>
  Schema.String.check(Schema.isPattern(pattern)).pipe(
    Schema.decodeTo(
      Schema.Redacted(Schema.String),
      SchemaTransformation.transform({ decode: (plain) => Redacted.make(plain), encode: Redacted.value })
    )
  )

export const secret: Form<Redacted.Redacted> = {
  schema: secretOf(/^\S+$/),
  expects: "a secret without blanks",
  problem: headerProblem
}
export const longSecret: Form<Redacted.Redacted> = {
  schema: secretOf(/^\S{32,}$/),
  expects: "at least 32 characters",
  problem: headerProblem
}

/** An address of this machine to listen on. */
export const listenAddress: Form<string> = {
  schema: Schema.String.check(Schema.makeFilter((address) => address === "localhost" || isIP(address) !== 0)),
  expects: "an IP address of this machine, for example 127.0.0.1"
}

/** An address without a slash at its end. */
export const httpUrl: Form<string> = {
  schema: Schema.String.check(Schema.isPattern(/^https?:\/\/[^\s/?#]+[^\s]*$/)).pipe(
    Schema.decodeTo(
      Schema.String,
      SchemaTransformation.transform({ decode: (url) => url.replace(/\/+$/, ""), encode: (url) => url })
    )
  ),
  expects: "an http:// or https:// address"
}

/** Names with commas between them. */
export const names: Form<ReadonlySet<string>> = {
  schema: Schema.String.check(Schema.isPattern(/^[\w.]+(?:\s*,\s*[\w.]+)*$/)).pipe(
    Schema.decodeTo(
      Schema.ReadonlySet(Schema.String),
      SchemaTransformation.transform({
        decode: (text): ReadonlySet<string> => new Set(text.split(/\s*,\s*/)),
        encode: (set) => [...set].join(",")
      })
    )
  ),
  expects: "names with commas between them"
}

/** A length of time in words, such as `5 minutes`. */
export const lengthOfTime: Form<Duration.Duration> = {
  schema: Schema.DurationFromString.check(
    Schema.makeFilter((duration) => Duration.isFinite(duration) && Duration.toMillis(duration) >= 1000)
  ),
  expects: "a length of time such as 5 minutes, of a second or more"
}

/** One of these words, in any case. */
const oneOf = <const Words extends ReadonlyArray<string>>(words: Words): Form<Words[number]> => ({
  schema: Schema.String.pipe(
    Schema.decodeTo(
      Schema.Literals(words),
      SchemaTransformation.transform({
        decode: (text) => words.find((word) => word.toLowerCase() === text.toLowerCase()) ?? (text as Words[number]),
        encode: (word: Words[number]): string => word
      })
    )
  ),
  expects: `one of ${words.join(", ")}`
})

/** Logging and tracing of a process. */
export const telemetrySettings = {
  logLevel: withDefault(
    "LOG_LEVEL",
    "the least important lines that are logged",
    oneOf(["Trace", "Debug", "Info", "Warn", "Error", "Fatal", "None"]),
    "Info"
  ),
  logFormat: optional("LOG_FORMAT", "form of the log, by default pretty on a terminal", oneOf(["json", "pretty"])),
  otlpEndpoint: optional("OTEL_EXPORTER_OTLP_ENDPOINT", "where traces, logs and metrics are sent", httpUrl)
}

/** What every service needs to be reached and to know its callers. */
export const serverSettings = (portVariable: string, defaultPort: number) => ({
  ...telemetrySettings,
  port: withDefault(portVariable, "port of this service", port, defaultPort),
  listenAddress: optional(
    "LISTEN_ADDRESS",
    "the address of this machine that is listened on, by default all",
    listenAddress
  ),
  metricsPort: withDefault("METRICS_PORT", "port of the metrics of this service", port, 9091),
  adminKey: required("ADMIN_KEY", "the key that callers send as X-ADMIN-KEY", longSecret),
  previousAdminKey: optional("ADMIN_KEY_PREVIOUS", "a second key, accepted during a rotation", longSecret),
  flyAppName: optional("FLY_APP_NAME", "set by Fly.io: there the proxy tells the address of a client", text)
})

/** Of services that others wake when they need them. */
export const sleepSettings = {
  idleShutdown: optional("IDLE_SHUTDOWN", "the process ends after so long without a request or a job", lengthOfTime)
}

const supabaseUrl: Form<string> = {
  ...httpUrl,
  problem: (text) =>
    URL.canParse(text) && new URL(text).pathname.replaceAll("/", "") !== ""
      ? "has a path, and must be the address alone, https://<project>.supabase.co"
      : undefined
}

/** Where snapshots are kept: in a folder when `SNAPSHOT_DIR` is set, else in Supabase Storage. */
export const storeSettings = {
  snapshotDir: optional("SNAPSHOT_DIR", "keep snapshots in this folder instead of Supabase Storage", text),
  supabaseUrl: unless(
    "SNAPSHOT_DIR",
    optional("SUPABASE_URL", "address of the Supabase project, https://<project>.supabase.co", supabaseUrl)
  ),
  serviceRoleKey: unless(
    "SNAPSHOT_DIR",
    optional("SUPABASE_SERVICE_ROLE_KEY", "secret key of the Supabase project, for its Storage", secret)
  ),
  bucket: withDefault("BUCKET", "bucket of the snapshots", text, "medipim-raw")
}

/** Certificates as text. Where a variable takes one line only, line ends may be written `\\n`. */
const certificates: Form<string> = {
  schema: Schema.String.check(Schema.isPattern(/^-----BEGIN CERTIFICATE-----(?:\s|\\n)/)).pipe(
    Schema.decodeTo(
      Schema.String,
      SchemaTransformation.transform({ decode: (pem) => pem.replaceAll("\\n", "\n"), encode: (pem) => pem })
    )
  ),
  expects: "a certificate in PEM form"
}

const encoding =
  "in the password write % as %25, # as %23, / as %2F, ? as %3F and @ as %40; in a .env file a bare # begins a comment"

/** What is wrong with an address that begins like one of Postgres. */
const databaseUrlProblem = (raw: string): string | undefined => {
  const text = raw.trim()
  if (!/^postgres(ql)?:\/\/\S+$/.test(text)) return undefined
  if (!URL.canParse(text)) return `cannot be read as an address (${encoding})`
  const { hash, hostname, password, port, searchParams } = new URL(text)
  if (hash !== "") return `has a bare # (${encoding})`
  try {
    decodeURIComponent(password)
  } catch {
    return `has a bare % (${encoding})`
  }
  if (hostname === "" && !searchParams.has("host")) return `names no host (${encoding})`
  return port === "6543"
    ? "is the transaction pooler of Supabase (port 6543); take the direct connection, or the session pooler on port 5432"
    : undefined
}

export const databaseSettings = {
  databaseUrl: required("DATABASE_URL", "the Postgres database: direct connection or session pooler", {
    schema: secretOf(/^postgres(ql)?:\/\/\S+$/),
    expects: "a postgres:// address",
    problem: databaseUrlProblem
  }),
  databaseCa: optional("DATABASE_CA", "certificate of the authority that signed the database's", certificates),
  databaseConnections: withDefault("DATABASE_CONNECTIONS", "most connections to the database", wholeNumber(4, 100), 6)
}
