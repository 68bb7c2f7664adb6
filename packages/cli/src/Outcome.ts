import { Data } from "effect"
import { HttpClientError } from "effect/http"

/** Exit codes, for scripts. */
export const exitCodes = {
  succeeded: 0,
  failed: 1,
  usage: 2,
  alreadyRunning: 3,
  unreachable: 4,
  notFound: 5,
  stale: 6,
  interrupted: 130
} as const

export const exitCodesText =
  "Exit codes: 0 succeeded, 1 the run failed or was cancelled, 2 wrong options, 3 a sync is running already, " +
  "4 the service cannot be reached, is another one or refuses the key, 5 not found, 6 the catalogue is stale or was never published (status), 130 interrupted (a followed run continues)."

/** A command as it is typed: `-s` keeps npm's own lines out of its answer. */
export const shown = (...words: ReadonlyArray<string>): string => ["npm run -s medipim --", ...words].join(" ")

/** Ends the command: a line for a person and a code for a script. */
export class Outcome extends Data.TaggedError("Outcome")<{
  readonly message: string
  readonly code: number
  /** Whether asking again may help. */
  readonly passes?: boolean
}> {}

/** A service that the command asks. */
export interface Service {
  readonly name: string
  /** The variable that says where it is. */
  readonly variable: string
  /** What the variable says, without user, password and query. */
  readonly address: string
  /** Whether it has answered yet: a schema error means a bad answer then, and a bad option before. */
  readonly hasAnswered: () => boolean
}

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

/** What a proxy says while the service behind it is starting, or has too much to do. */
const isPassing = (status: number): boolean => status >= 500 || status === 408 || status === 429

/** What came or did not come, without the address: its query may hold a secret. */
const answerOf = (reason: HttpClientError.HttpClientErrorReason): string => {
  if ("response" in reason) return `it answers ${reason.request.method} with ${reason.response.status}`
  const { code } = (reason.cause ?? {}) as { readonly code?: unknown }
  return typeof code === "string" ? code : reason._tag
}

/** Why the answer did not come from this service; `undefined` without an answer, or when a retry may give another one. */
const otherwiseAnswered = (error: ClientError, { hasAnswered }: Service): string | undefined => {
  if (error._tag === "SchemaError") return hasAnswered() ? error.message.split("\n")[0] : undefined
  if (!HttpClientError.isHttpClientError(error)) return undefined
  const { reason } = error
  if (reason._tag === "DecodeError" && reason.description === undefined && !(reason.cause instanceof SyntaxError))
    return undefined
  return "response" in reason && !isPassing(reason.response.status) ? answerOf(reason) : undefined
}

/** What an error of the typed client means for the user of the command. */
export const outcomeOf =
  (service: Service) =>
  (error: ClientError): Outcome => {
    const { _tag, message } = error
    const { name, variable, address } = service
    const otherwise = otherwiseAnswered(error, service)
    if (otherwise !== undefined) {
      const text = `${variable} (${address}) is not the ${name} of this version: ${otherwise}`
      return new Outcome({ message: text, code: exitCodes.unreachable })
    }
    const text = HttpClientError.isHttpClientError(error)
      ? `The ${name} cannot be reached at ${address}: ${answerOf(error.reason)}`
      : _tag === "Unauthorized"
        ? `The ${name} refuses the key in ADMIN_KEY.`
        : message
    const passes = _tag === "HttpClientError" || _tag === "Unavailable" || _tag === "TooManyWrongKeys"
    return new Outcome({ message: text, code: codeOf[_tag] ?? exitCodes.failed, passes })
  }
