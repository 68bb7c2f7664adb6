import { createHash, timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { Redacted } from "effect"
import { makeCatalogue } from "./Catalogue.ts"
import { changeMidStream, control } from "./Control.ts"
import { type Fault, makeFaults } from "./Faults.ts"
import { Violations } from "./Filter.ts"
import { resultOf } from "./Product.ts"
import { catalogueSource, fileSource, selectIndexes } from "./Source.ts"
import { sendLines } from "./Stream.ts"

export interface Options {
  /** 0 finds a free one. */
  readonly port: number
  /** All addresses without it. */
  readonly listenAddress?: string
  readonly products: number
  readonly seed: number
  readonly keyId: string
  readonly keySecret: Redacted.Redacted
  /** NDJSON to serve instead of the made catalogue. */
  readonly file?: string
  /** False: the bounds of `{from, until}` do not count in. */
  readonly inclusiveBounds?: boolean
  /** Of a key, in a sliding minute. */
  readonly requestsPerMinute?: number
}

/** Requests of a key in a sliding minute (docs/reference/medipim-api.md#authentication-and-limits). */
const documentedLimit = 100
const pageSizes = [10, 50, 100, 250]
const reachable = 10_000
const largestBody = 1024 * 1024

const send = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(body))
}

/** MediPim's error body (docs/reference/medipim-api.md#errors). */
const fail = (
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  more: { readonly violations?: unknown; readonly headers?: Record<string, string> } = {}
): void => {
  const { violations, headers } = more
  send(
    response,
    status,
    { error: { status, code, message, ...(violations === undefined ? {} : { violations }) } },
    headers
  )
}

const read = async (request: IncomingMessage): Promise<string> => {
  const pieces: Array<Buffer> = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > largestBody) throw new RangeError("the body is too large")
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString("utf8")
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

const retryHeaders = ({ retryAfter }: Fault): Record<string, string> =>
  retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }

/** Answers for a fault that comes before the first line; false for the others. */
const refuse = (response: ServerResponse, fault: Fault): boolean => {
  switch (fault.fault) {
    case "server-error":
      fail(response, 500, "internal", "something broke", { headers: retryHeaders(fault) })
      return true
    case "maintenance":
      response.writeHead(503, { "content-type": "text/html", ...retryHeaders(fault) })
      response.end("<html><body>Down for maintenance</body></html>")
      return true
    case "html":
      response.writeHead(200, { "content-type": "text/html" })
      response.end("<html><body>Please sign in</body></html>\n")
      return true
    case "rate-limited":
      fail(response, 429, "too_many_requests", "slow down", { headers: retryHeaders(fault) })
      return true
    case "refused":
      fail(response, 401, "authentication.not_authenticated", "the key was withdrawn")
      return true
    case "empty":
      response.writeHead(204)
      response.end()
      return true
    default:
      return false
  }
}

/**
 * MediPim on `node:http`: a server that has to break connections at a byte needs the socket, which no higher interface
 * gives.
 */
export const makeServer = (options: Options): Server => {
  const catalogue = makeCatalogue(options.seed, options.products)
  const inclusive = options.inclusiveBounds ?? true
  const source = options.file === undefined ? catalogueSource(catalogue, inclusive) : fileSource(options.file)
  const faults = makeFaults()
  const credentials = `${options.keyId}:${Redacted.value(options.keySecret)}`
  const expected = digest(`Basic ${Buffer.from(credentials).toString("base64")}`)
  const recent: Array<number> = []
  const requestsPerMinute = options.requestsPerMinute ?? documentedLimit
  let requests = 0

  const isAllowed = (response: ServerResponse, authorization: string): boolean => {
    if (!timingSafeEqual(digest(authorization), expected)) {
      fail(response, 401, "authentication.not_authenticated", "the API key is missing or wrong")
      return false
    }
    const now = Date.now()
    while (recent[0] !== undefined && recent[0] <= now - 60_000) recent.shift()
    if (recent.length >= requestsPerMinute) {
      fail(response, 429, "too_many_requests", `more than ${requestsPerMinute} requests in a minute`)
      return false
    }
    recent.push(now)
    return true
  }

  const stream = async (response: ServerResponse, body: Record<string, unknown>): Promise<void> => {
    const fault = faults.next()
    if (fault !== undefined && refuse(response, fault)) return faults.strike()
    const selection = await source.select(body.filter, body.sorting)
    if (selection.total === 0) {
      response.writeHead(204)
      response.end()
      return
    }
    await sendLines(response, selection, fault, ({ fault: kind }) => {
      faults.strike()
      if (kind === "change-mid-stream") changeMidStream(catalogue)
    })
  }

  const query = (response: ServerResponse, { filter, sorting, page }: Record<string, unknown>): void => {
    const { no, size } = page as { readonly no?: unknown; readonly size?: unknown }
    const pageNo = typeof no === "number" && Number.isInteger(no) && no >= 0 ? no : -1
    const pageSize = size === undefined ? 100 : (size as number)
    if (pageNo < 0) throw new Violations([{ field: "page.no", message: "a page number from 0 is expected" }])
    if (!pageSizes.includes(pageSize)) {
      throw new Violations([{ field: "page.size", message: `one of ${pageSizes.join(", ")} is expected` }])
    }
    const offset = pageNo * pageSize
    if (offset + pageSize > reachable) {
      throw new Violations([{ field: "page", message: `only ${reachable} results can be reached; use the stream` }])
    }
    const found = selectIndexes(catalogue, filter, sorting, inclusive)
    const results = Array.from(found.slice(offset, offset + pageSize), (index) =>
      resultOf(catalogue.seed, catalogue.products, catalogue.factsOf(index))
    )
    send(response, 200, { meta: { total: found.length, page: { no: pageNo, offset, size: pageSize } }, results })
  }

  const products = async (response: ServerResponse, path: string, text: string): Promise<void> => {
    let body: Record<string, unknown>
    try {
      body = JSON.parse(text) as Record<string, unknown>
    } catch {
      return fail(response, 400, "bad_request", "the body is not JSON")
    }
    const needed = path.endsWith("/query") ? ["filter", "sorting", "page"] : ["filter", "sorting"]
    const missing = needed.filter((key) => typeof body?.[key] !== "object" || body[key] === null)
    if (missing.length > 0) return fail(response, 400, "bad_request", `missing: ${missing.join(", ")}`)
    try {
      return path.endsWith("/query") ? query(response, body) : await stream(response, body)
    } catch (error) {
      if (!(error instanceof Violations)) throw error
      return fail(response, 422, "validation_failed", error.message, { violations: error.violations })
    }
  }

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "").split("?")[0] ?? ""
    const route = `${request.method} ${path}`
    const text = await read(request)
    if (path.startsWith("/control/")) {
      let body: unknown
      try {
        body = text === "" ? {} : JSON.parse(text)
      } catch {
        return send(response, 400, { error: "the body is not JSON" })
      }
      const { status, body: said } = control({ catalogue, faults, requests }, route, body)
      return send(response, status, said)
    }
    if (route !== "POST /v4/products/stream" && route !== "POST /v4/products/query") {
      return fail(response, 404, "not_found", `there is no ${route}`)
    }
    requests += 1
    if (isAllowed(response, request.headers.authorization ?? "")) await products(response, path, text)
  }

  return createServer((request, response) => {
    answer(request, response).catch((error: Error) => {
      if (response.headersSent) response.destroy()
      else fail(response, 500, "internal", error.message)
    })
  })
}
