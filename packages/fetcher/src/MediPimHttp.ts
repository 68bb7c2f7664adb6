import { createGunzip } from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { MediPim, MediPimError } from "@medipim/domain/MediPim"
import { printable } from "@medipim/domain/Printable"
import type { SourceRequest } from "@medipim/domain/Snapshot"
import { StreamBroken } from "@medipim/domain/StreamCheck"
import { retryOutageOf } from "@medipim/platform/process/Outage"
import { Clock, Duration, Effect, Layer, Option, type Redacted, Stream } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { explain } from "./ErrorAnswer.ts"

export interface Options {
  /** The whole address of the product stream. */
  readonly url: string
  readonly keyId: string
  readonly keySecret: Redacted.Redacted
  /** Milliseconds without a byte after which MediPim counts as gone. */
  readonly requestTimeout: number
  /** Who asks, with a way to reach them. */
  readonly userAgent: string
}

/** Before the first byte; a download that breaks later is resumed by `Download.ts`. */
const waiting = retryOutageOf(
  "MediPim",
  (error: MediPimError) => error.retryable,
  (error) => error.message
)
/** A `Retry-After` beyond this is not waited for: the wish of a broken proxy must not put a sync to sleep for a day. */
const longestWait = Duration.seconds(120)
/** Bytes of the body of an error that are looked at; the rest is not read. */
const errorBytes = 8 * 1024

/** What to wait for: seconds or a date; nothing when it is neither. */
const retryAfterOf = (header: string | undefined, now: number): Duration.Duration => {
  const seconds = Number(header)
  const until = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header ?? "") - now
  return Duration.min(longestWait, Duration.millis(Number.isFinite(until) ? Math.max(0, until) : 0))
}

const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500

const broken = (fault: "connection" | "stalled", detail: string): StreamBroken =>
  // The caller counts the lines, so it knows the position.
  new StreamBroken({ fault, received: 0, expected: 0, detail })

/** The bytes of an answer, decompressed; `None` for a coding that was not asked for. */
const bodyOf = ({ headers, stream }: HttpClientResponse.HttpClientResponse, requestTimeout: number) => {
  const bytes = stream.pipe(
    Stream.mapError((error) => broken("connection", printable(error.message))),
    // `Stream.timeout` would end here as if all had come.
    Stream.timeoutOrElse({
      duration: requestTimeout,
      orElse: () => Stream.fail(broken("stalled", `no byte in ${requestTimeout} ms`))
    })
  )
  switch (headers["content-encoding"]?.trim().toLowerCase() ?? "") {
    case "":
    case "identity":
      return Option.some(bytes)
    case "gzip":
    case "x-gzip":
      return Option.some(
        bytes.pipe(
          NodeStream.pipeThroughDuplex<Uint8Array, StreamBroken>({
            evaluate: () => createGunzip(),
            onError: (error) => broken("connection", `gzip: ${printable((error as Error).message)}`)
          })
        )
      )
    default:
      return Option.none()
  }
}

/** The beginning of a body, however long it is; nothing of one that breaks. */
const beginningOf = (bytes: Stream.Stream<Uint8Array, StreamBroken>): Effect.Effect<string> => {
  const pieces: Array<Uint8Array> = []
  let length = 0
  return bytes.pipe(
    Stream.takeUntil((piece) => {
      pieces.push(piece.subarray(0, errorBytes - length))
      length += piece.length
      return length >= errorBytes
    }),
    Stream.runDrain,
    Effect.timeout("10 seconds"),
    Effect.ignore,
    Effect.map(() => Buffer.concat(pieces).toString("utf8"))
  )
}

/** The status line counts; the body helps where there is one (docs/reference/medipim-api.md#errors). */
const refused = Effect.fnUntraced(function* (
  response: HttpClientResponse.HttpClientResponse,
  body: Option.Option<Stream.Stream<Uint8Array, StreamBroken>>
) {
  const { status, headers } = response
  const text = Option.isSome(body) ? yield* beginningOf(body.value) : ""
  const error = new MediPimError({ status, ...explain(status, text, headers.location), retryable: isPassing(status) })
  const wait = retryAfterOf(headers["retry-after"], yield* Clock.currentTimeMillis)
  if (error.retryable && Duration.toMillis(wait) > 0) {
    yield* Effect.logWarning(`MediPim asks to wait ${Duration.toSeconds(wait)} s (status ${status})`)
    yield* Effect.sleep(wait)
  }
  return yield* error
})

const unreachable = (error: HttpClientError.HttpClientError): MediPimError =>
  new MediPimError({ status: 0, code: error.reason._tag, detail: printable(error.message), retryable: true })

/** MediPim over HTTP. */
export const layer = ({ url, keyId, keySecret, requestTimeout, userAgent }: Options) =>
  Layer.effect(
    MediPim,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient

      const ask = Effect.fnUntraced(function* ({ filter, sorting }: SourceRequest) {
        const response = yield* HttpClientRequest.post(url).pipe(
          HttpClientRequest.basicAuth(keyId, keySecret),
          HttpClientRequest.acceptJson,
          HttpClientRequest.setHeaders({ "user-agent": userAgent, "accept-encoding": "gzip" }),
          HttpClientRequest.bodyJsonUnsafe({ filter, sorting }),
          client.execute,
          // Trace headers must not leave this system.
          Effect.provideService(HttpClient.TracerPropagationEnabled, false),
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
        if (response.status === 204) return Option.none()
        const body = bodyOf(response, requestTimeout)
        if (response.status !== 200) return yield* refused(response, body)
        if (Option.isSome(body)) return body
        const coding = printable(response.headers["content-encoding"] ?? "", 40)
        return yield* new MediPimError({
          status: 200,
          code: "content-encoding",
          detail: `the answer is coded as "${coding}"; gzip or nothing was asked for`,
          retryable: false
        })
      })

      const open = Effect.fn("MediPim.open")((request: SourceRequest) => waiting(ask(request)))

      return MediPim.of({ open })
    })
  )
