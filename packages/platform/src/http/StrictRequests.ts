import { printable } from "@medipim/domain/Printable"
import { InvalidRequest } from "@medipim/http-api/InvalidRequest"
import { Effect, Schema } from "effect"
import { Headers, HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"

const encode = Schema.encodeSync(InvalidRequest)

/** Methods that only read: their routes say themselves what they make of a query string. */
const reading = new Set(["GET", "HEAD", "OPTIONS"])
/** Names in one answer. */
const mostNames = 20

/**
 * The options of a request that starts or changes something stand in its body. In the address they would be ignored, and
 * `POST /sync?dryRun=true` would publish.
 */
const misplaced = ({ method, url }: HttpServerRequest.HttpServerRequest): InvalidRequest | undefined => {
  const query = url.indexOf("?")
  if (reading.has(method) || query < 0 || query === url.length - 1) return undefined
  const names = [...new Set(new URLSearchParams(url.slice(query)).keys())].slice(0, mostNames)
  const issues = names.map((name) => ({
    path: printable(name, 50),
    message: "Expected in the JSON body, not in the address"
  }))
  return new InvalidRequest({
    message: `Invalid request: options belong in the JSON body, not in the address: ${issues.map(({ path }) => path).join(", ")}`,
    issues
  })
}

/** No id of ours holds a NUL, and Postgres takes none. Written as `%00`: Node refuses the byte itself. */
const holdsNul = ({ url }: HttpServerRequest.HttpServerRequest): boolean => (url.split("?")[0] ?? "").includes("%00")

/** An empty body is none, whatever its type: `curl -d ''` says it is a form. */
const withoutEmptyBody = (request: HttpServerRequest.HttpServerRequest): HttpServerRequest.HttpServerRequest => {
  const { headers } = request
  const isEmpty = headers["content-length"] === "0" || !("content-length" in headers || "transfer-encoding" in headers)
  return isEmpty ? request.modify({ headers: Headers.remove(headers, "content-type") }) : request
}

const standardAnswers: Readonly<Record<number, readonly [tag: string, message: string]>> = {
  404: ["NotFound", "There is no such route. GET /docs shows them all, with their methods."],
  413: ["TooLarge", "The body is larger than any request of this service."],
  415: ["UnsupportedMediaType", "The body must be JSON: content-type application/json."],
  500: ["InternalServerError", "The service has failed. Its log says why."],
  // Of a request that the end of the service has interrupted.
  503: ["ServiceUnavailable", "The service cannot answer now. Try again later."]
}

const saysNothing = ({ body, headers }: HttpServerResponse.HttpServerResponse): boolean =>
  !(headers["content-type"] ?? ("contentType" in body ? body.contentType : undefined) ?? "").includes("json")

/** Errors are JSON, also those of the router and of the server, which would be text or nothing. */
const asJson = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const { status, headers } = response
  if (status < 400 || !saysNothing(response)) return response
  const [_tag, message] = standardAnswers[status] ?? ["Refused", "The request cannot be answered."]
  return HttpServerResponse.jsonUnsafe(
    { _tag, message },
    { status, headers: Headers.removeMany(headers, ["content-type", "content-length"]) }
  )
}

/** Refuses what no route would look at, and answers every error as JSON. */
export const strict = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    if (holdsNul(request)) return Effect.succeed(asJson(HttpServerResponse.empty({ status: 404 })))
    const invalid = misplaced(request)
    if (invalid !== undefined) return Effect.succeed(HttpServerResponse.jsonUnsafe(encode(invalid), { status: 400 }))
    return app.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, withoutEmptyBody(request)),
      HttpEffect.withPreResponseHandler((_request, response) => Effect.succeed(asJson(response)))
    )
  })
