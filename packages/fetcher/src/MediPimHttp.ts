import { MediPim, MediPimError } from "@medipim/domain/MediPim"
import type { SourceRequest } from "@medipim/domain/Snapshot"
import { StreamBroken } from "@medipim/domain/StreamCheck"
import { Clock, Duration, Effect, Layer, Option, type Redacted, Schedule, Schema, Stream } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"

export interface Options {
  /** The whole address of the product stream. */
  readonly url: string
  readonly keyId: string
  readonly keySecret: Redacted.Redacted
  /** Milliseconds without a byte after which MediPim counts as gone. */
  readonly requestTimeout: number
}

/** Tries before the first byte; a download that breaks later is begun again by `Download.ts`. */
const persistence = {
  while: (error: MediPimError) => error.retryable,
  schedule: Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("20 seconds")]).pipe(Schedule.jittered),
  times: 5
}
/** A `Retry-After` beyond this is not waited for: the wish of a broken proxy must not put a sync to sleep for a day. */
const longestWait = Duration.seconds(120)
const longestDetail = 300

const ErrorBody = Schema.fromJsonString(
  Schema.Struct({
    error: Schema.Struct({ code: Schema.optional(Schema.String), message: Schema.optional(Schema.String) })
  })
)
const decodeErrorBody = Schema.decodeUnknownOption(ErrorBody)

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim().slice(0, longestDetail)

/** What to wait for: seconds or a date; nothing when it is neither. */
const retryAfterOf = (header: string | undefined, now: number): Duration.Duration => {
  const seconds = Number(header)
  const until = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header ?? "") - now
  return Duration.min(longestWait, Duration.millis(Number.isFinite(until) ? Math.max(0, until) : 0))
}

const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** The status line tells the truth, the body is a help where there is one (medipim-api-v4.md section 3). */
const refused = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
  const { status } = response
  const text = yield* response.text.pipe(
    Effect.timeout("10 seconds"),
    Effect.orElseSucceed(() => "")
  )
  const body = Option.map(decodeErrorBody(text), ({ error }) => error)
  const error = new MediPimError({
    status,
    code: Option.match(body, { onNone: () => "", onSome: ({ code }) => oneLine(code ?? "") }),
    detail:
      oneLine(Option.match(body, { onNone: () => text, onSome: ({ message }) => message ?? "" })) || "no reason given",
    retryable: isPassing(status)
  })
  const wait = retryAfterOf(response.headers["retry-after"], yield* Clock.currentTimeMillis)
  if (error.retryable && Duration.toMillis(wait) > 0) {
    yield* Effect.logWarning(`MediPim asks to wait ${Duration.toSeconds(wait)} s (status ${status})`)
    yield* Effect.sleep(wait)
  }
  return yield* error
})

const unreachable = (error: HttpClientError.HttpClientError): MediPimError =>
  new MediPimError({ status: 0, code: error.reason._tag, detail: oneLine(error.message), retryable: true })

const broken = (fault: "connection" | "stalled", detail: string): StreamBroken =>
  // How far the stream was is known to the one who counts its lines.
  new StreamBroken({ fault, received: 0, expected: 0, detail })

/** MediPim over HTTP. */
export const layer = ({ url, keyId, keySecret, requestTimeout }: Options) =>
  Layer.effect(
    MediPim,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient

      const ask = Effect.fnUntraced(function* ({ filter, sorting }: SourceRequest) {
        const response = yield* HttpClientRequest.post(url).pipe(
          HttpClientRequest.basicAuth(keyId, keySecret),
          HttpClientRequest.acceptJson,
          HttpClientRequest.bodyJsonUnsafe({ filter, sorting }),
          client.execute,
          Effect.mapError(unreachable),
          Effect.timeoutOrElse({
            duration: requestTimeout,
            orElse: () =>
              Effect.fail(
                new MediPimError({
                  status: 0,
                  code: "Timeout",
                  detail: `nothing in ${requestTimeout} ms`,
                  retryable: true
                })
              )
          })
        )
        return response.status === 200 || response.status === 204 ? response : yield* refused(response)
      })

      const open = Effect.fn("MediPim.open")(function* (request: SourceRequest) {
        const response = yield* ask(request).pipe(Effect.retry(persistence))
        if (response.status === 204) return Option.none()
        return Option.some(
          response.stream.pipe(
            Stream.mapError((error) => broken("connection", oneLine(error.message))),
            // `Stream.timeout` would end here as if all had come.
            Stream.timeoutOrElse({
              duration: requestTimeout,
              orElse: () => Stream.fail(broken("stalled", `no byte in ${requestTimeout} ms`))
            })
          )
        )
      })

      return MediPim.of({ open })
    })
  )
