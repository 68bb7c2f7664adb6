import { Effect } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"

/** JSON is no page: nothing in it may run, and no page may frame it. */
const forData = "default-src 'none'; frame-ancestors 'none'"

/**
 * The page of the documents brings its scripts and styles in itself; images and fonts are its own. It may talk to this
 * service alone, so that a key entered there never reaches a third-party proxy.
 */
const forDocuments = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")

const always = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  // Answers hold runs, counts and lines that were refused: no proxy and no browser keeps them.
  "cache-control": "no-store"
}

/** One year. Only sent over TLS: without it browsers must ignore the header (RFC 6797, section 8.1). */
const byTls = { "strict-transport-security": "max-age=31536000" }

const headersFor = (
  { headers }: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
) => ({
  ...always,
  // By what it is, not by its address: the router takes /Docs and //docs for the page too.
  "content-security-policy": isPage(response) ? forDocuments : forData,
  // What says itself how it may be kept is no secret.
  ...("cache-control" in response.headers ? { "cache-control": response.headers["cache-control"] } : {}),
  // A client that forges this header affects only its own browser.
  ...(headers["x-forwarded-proto"] === "https" ? byTls : {})
})

const isPage = ({ body, headers }: HttpServerResponse.HttpServerResponse): boolean =>
  (headers["content-type"] ?? ("contentType" in body ? body.contentType : undefined) ?? "").startsWith("text/html")

const withHeaders = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse => HttpServerResponse.setHeaders(response, headersFor(request, response))

/**
 * Puts the headers on every answer of a server, on those to unknown routes and on failures too. What the routes answer is on
 * its way when `app` ends; what a middleware answers in their place is not.
 */
export const secured = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    app.pipe(
      HttpEffect.withPreResponseHandler((request, response) => Effect.succeed(withHeaders(request, response))),
      Effect.map((response) => withHeaders(request, response))
    )
  )
