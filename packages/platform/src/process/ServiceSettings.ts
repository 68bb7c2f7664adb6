import { isIP } from "node:net"
import * as Texts from "@medipim/domain/OperatorVariables"
import { Duration, Redacted, Schema, SchemaTransformation } from "effect"
import { type Form, optional, required, unless, withDefault } from "./Settings.ts"

/** The forms in which the variables of all services are written. */
export const text: Form<string> = { schema: Schema.NonEmptyString, expects: "text" }

/** A whole number, both ends included. */
export const wholeNumber = (minimum: number, maximum: number): Form<number> => ({
  schema: Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum })),
  expects: `a whole number from ${minimum} to ${maximum}`
})
/** A TCP port. */
export const port = wholeNumber(1, 65_535)

const textIn = ({ pattern, ...form }: Texts.TextForm): Form<string> => ({
  ...form,
  schema: Schema.String.check(Schema.isPattern(pattern))
})

const secretIn = ({ pattern, ...form }: Texts.TextForm): Form<Redacted.Redacted> => ({
  ...form,
  schema: Schema.String.check(Schema.isPattern(pattern)).pipe(
    Schema.decodeTo(
      Schema.Redacted(Schema.String),
      SchemaTransformation.transform({ decode: (plain) => Redacted.make(plain), encode: Redacted.value })
    )
  )
})

/** A secret that a header can carry; `Redacted` from here on. */
export const secret = secretIn(Texts.secret)

/** An address of this machine to listen on. */
export const listenAddress: Form<string> = {
  schema: Schema.String.check(Schema.makeFilter((address) => address === "localhost" || isIP(address) !== 0)),
  expects: "an IP address of this machine, for example 127.0.0.1"
}

/** An address without a slash at its end. */
const urlIn = ({ pattern, ...form }: Texts.TextForm): Form<string> => ({
  ...form,
  schema: Schema.String.check(Schema.isPattern(pattern)).pipe(
    Schema.decodeTo(
      Schema.String,
      SchemaTransformation.transform({ decode: (url) => url.replace(/\/+$/, ""), encode: (url) => url })
    )
  )
})

/** An http or https address, without a slash at its end. */
export const httpUrl = urlIn(Texts.httpUrl)

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

type OperatorVariable = keyof typeof Texts.operatorVariables

/** Name, purpose and form of a variable that the operator sets, as `required` and `optional` take them. */
const settingOf = <A>(variable: OperatorVariable, formOf: (text: Texts.TextForm) => Form<A>) =>
  [variable, Texts.operatorVariables[variable].purpose, formOf(Texts.operatorVariables[variable])] as const

/** A variable that the operator sets, as text. */
export const operatorVariable = (variable: OperatorVariable) => settingOf(variable, textIn)
/** A variable that the operator sets, as a secret. */
export const operatorSecret = (variable: OperatorVariable) => settingOf(variable, secretIn)

/** Logging and tracing of a process. */
export const telemetrySettings = {
  logLevel: withDefault(
    "LOG_LEVEL",
    "minimum log level",
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
  adminKey: required(...operatorSecret("ADMIN_KEY")),
  previousAdminKey: optional(...operatorSecret("ADMIN_KEY_PREVIOUS")),
  flyAppName: optional(
    "FLY_APP_NAME",
    "set by Fly.io: there the address of a client comes from a header of the proxy",
    text
  )
})

/** Of services that others wake when they need them. */
export const sleepSettings = {
  idleShutdown: optional("IDLE_SHUTDOWN", "the process ends after so long without a request or a job", lengthOfTime)
}

/** Where snapshots are kept: in a folder when `SNAPSHOT_DIR` is set, else in Supabase Storage. */
export const storeSettings = {
  snapshotDir: optional("SNAPSHOT_DIR", "keep snapshots in this folder instead of Supabase Storage", text),
  supabaseUrl: unless("SNAPSHOT_DIR", optional(...settingOf("SUPABASE_URL", urlIn))),
  serviceRoleKey: unless("SNAPSHOT_DIR", optional(...operatorSecret("SUPABASE_SERVICE_ROLE_KEY"))),
  bucket: withDefault("BUCKET", "bucket of the snapshots", text, "medipim-raw")
}

/** Certificates as text. Where a variable takes one line only, line ends may be written `\\n`. */
const certificatesIn = ({ pattern, ...form }: Texts.TextForm): Form<string> => ({
  ...form,
  schema: Schema.String.check(Schema.isPattern(pattern)).pipe(
    Schema.decodeTo(
      Schema.String,
      SchemaTransformation.transform({ decode: (pem) => pem.replaceAll("\\n", "\n"), encode: (pem) => pem })
    )
  )
})

/** The connection to Postgres. */
export const databaseSettings = {
  databaseUrl: required(...operatorSecret("DATABASE_URL")),
  databaseCa: optional(...settingOf("DATABASE_CA", certificatesIn)),
  databaseConnections: withDefault("DATABASE_CONNECTIONS", "most connections to the database", wholeNumber(4, 100), 6)
}
