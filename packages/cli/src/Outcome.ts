import { Data } from "effect"

/** Exit codes, for scripts. */
export const exitCodes = {
  succeeded: 0,
  failed: 1,
  usage: 2,
  alreadyRunning: 3,
  unreachable: 4,
  notFound: 5,
  interrupted: 130
} as const

export const exitCodesText =
  "Exit codes: 0 succeeded, 1 the run failed or was cancelled, 2 wrong options, 3 a sync is running already, " +
  "4 the service cannot be reached or refuses the key, 5 not found, 130 interrupted (a followed run goes on)."

/** A command as it is typed: `-s` keeps npm's own lines out of its answer. */
export const shown = (...words: ReadonlyArray<string>): string => ["npm run -s medipim --", ...words].join(" ")

/** Ends the command: a line for a person and a code for a script. */
export class Outcome extends Data.TaggedError("Outcome")<{ readonly message: string; readonly code: number }> {}

interface ClientError {
  readonly _tag: string
  readonly message: string
}

const codeOf: Readonly<Record<string, number>> = {
  SyncRunning: exitCodes.alreadyRunning,
  Busy: exitCodes.alreadyRunning,
  InvalidRequest: exitCodes.usage,
  // The client checks options by the schema of the service, before it asks.
  SchemaError: exitCodes.usage,
  RunNotFound: exitCodes.notFound,
  Unauthorized: exitCodes.unreachable,
  TooManyWrongKeys: exitCodes.unreachable,
  Unavailable: exitCodes.unreachable,
  HttpClientError: exitCodes.unreachable
}

/** What an error of the typed client means for the user of the command. */
export const outcomeOf =
  (service: string, url: string) =>
  ({ _tag, message }: ClientError): Outcome => {
    const code = codeOf[_tag] ?? exitCodes.failed
    const text =
      _tag === "HttpClientError"
        ? `The ${service} cannot be reached at ${url}: ${message}`
        : _tag === "Unauthorized"
          ? `The ${service} refuses the key in ADMIN_KEY.`
          : message
    return new Outcome({ message: text, code })
  }
