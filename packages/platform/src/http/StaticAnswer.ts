import { createHash } from "node:crypto"
import { gzipSync } from "node:zlib"
import { Effect } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"

/** A page that never changes: each form of it is held once, however many callers are reading it. */
interface Page {
  /** Weak: one tag for the plain and the compressed form. */
  readonly etag: string
  readonly contentType: string
  readonly plain: Uint8Array
  readonly gzipped: Uint8Array
}

const pageOf = ({ body, headers }: HttpServerResponse.HttpServerResponse): Page | undefined => {
  if (body._tag !== "Uint8Array") return undefined
  const plain = body.body
  return {
    etag: `W/"${createHash("sha256").update(plain).digest("base64url")}"`,
    contentType: headers["content-type"] ?? body.contentType,
    plain,
    gzipped: gzipSync(plain)
  }
}

/** RFC 9110, section 12.5.3: a coding with a weight of 0 is not acceptable. */
const takesGzip = (accepted: string | undefined): boolean =>
  (accepted ?? "").split(",").some((one) => {
    const [coding = "", ...parameters] = one.toLowerCase().replaceAll(/\s/g, "").split(";")
    return coding === "gzip" && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))
  })

/** RFC 9110, section 13.1.2: the tags that a caller holds, weak ones too. */
const holds = (held: string | undefined, etag: string): boolean =>
  (held ?? "").split(",").some((one) => one.trim() === "*" || one.trim().replace(/^(?!W\/)/, "W/") === etag)

/**
 * A route whose answer is always the same: made once, sent from one buffer, compressed for clients that accept gzip, and
 * answered with 304 when the client has it already.
 */
export const staticAnswer = <E, R>(answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) => {
  let kept: Page | undefined
  return Effect.gen(function* () {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    if (kept === undefined) {
      const first = yield* answer
      kept = pageOf(first)
      if (kept === undefined) return first
    }
    const { etag, contentType, plain, gzipped } = kept
    const always = { etag, vary: "accept-encoding", "cache-control": "no-cache" }
    if (holds(headers["if-none-match"], etag)) return HttpServerResponse.empty({ status: 304, headers: always })
    return takesGzip(headers["accept-encoding"])
      ? HttpServerResponse.uint8Array(gzipped, { contentType, headers: { ...always, "content-encoding": "gzip" } })
      : HttpServerResponse.uint8Array(plain, { contentType, headers: always })
  })
}
