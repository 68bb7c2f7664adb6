import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Context, Effect, Layer } from "effect"

/** What the stand-in does to the next requests instead of answering them. */
export type Trouble = "unavailable" | "html" | "answer-lost" | "cut-body" | "hang" | "slow-down"

const errors = {
  noBucket: ["404", "NoSuchBucket", "Bucket not found", "Bucket not found"],
  noKey: ["404", "NoSuchKey", "not_found", "Object not found"],
  denied: ["403", "AccessDenied", "Unauthorized", "Invalid Compact JWS"],
  notAllowed: ["403", "AccessDenied", "Unauthorized", "new row violates row-level security policy"],
  exists: ["409", "KeyAlreadyExists", "Duplicate", "The resource already exists"],
  invalidKey: ["400", "InvalidKey", "InvalidKey", "Invalid key"],
  tooLarge: ["413", "EntityTooLarge", "Payload too large", "The object exceeded the maximum allowed size"]
} as const

/** What the storage says while its database is down (docs/reference/supabase-storage.md#errors). */
export const internalError = {
  statusCode: "500",
  code: "InternalError",
  error: "Internal",
  message: "Internal Server Error"
} as const

const sizeLimit = 10 * 1024 * 1024

const json = (response: ServerResponse, status: number, body: unknown): ServerResponse => {
  response.writeHead(status, { "content-type": "application/json" })
  return response.end(JSON.stringify(body))
}

/** Client errors come with HTTP 400 whatever they are; the code stands in the body (docs/reference/supabase-storage.md#errors). */
const refuse = (response: ServerResponse, name: keyof typeof errors): ServerResponse => {
  const [statusCode, code, error, message] = errors[name]
  return json(response, 400, { statusCode, code, error, message })
}

const read = async (request: IncomingMessage): Promise<Buffer> => {
  const pieces: Array<Buffer> = []
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Supabase Storage as measured: the routes that the store uses, its error form, its listing, and its bad days. */
export class SupabaseStandIn extends Context.Service<
  SupabaseStandIn,
  {
    readonly url: string
    readonly key: string
    /** The key for browsers: it sees no bucket and no object, and may change nothing. */
    readonly publicKey: string
    /** Requests since the start, as `METHOD /path`. */
    readonly seen: () => ReadonlyArray<string>
    readonly trouble: (...next: ReadonlyArray<Trouble>) => void
    /** What of it has not come yet. */
    readonly troubleLeft: () => ReadonlyArray<Trouble>
    readonly dropBucket: () => void
    /** Whether anybody may read what is in the bucket. */
    readonly setPublic: (isPublic: boolean) => void
    /** Whether the key may change anything. */
    readonly setReadOnly: (isReadOnly: boolean) => void
    /** Makes other bytes of the objects with such a key, behind everybody's back; answers how many there were. */
    readonly damage: (key: RegExp, change: (bytes: Buffer) => Buffer) => number
  }
>()("platform/test/SupabaseStandIn") {
  static readonly layer = Layer.effect(
    SupabaseStandIn,
    Effect.acquireRelease(
      Effect.callback<{
        readonly server: ReturnType<typeof createServer>
        readonly service: SupabaseStandIn["Service"]
      }>((resume) => {
        const key = "sb_secret_stand-in-0123456789"
        const publicKey = "sb_publishable_stand-in-0123456789"
        let bucket: Map<string, Buffer> | undefined
        let isPublic = false
        let isReadOnly = false
        let troubles: Array<Trouble> = []
        const seen: Array<string> = []

        const list = (objects: Map<string, Buffer>, body: Record<string, unknown>): ReadonlyArray<unknown> => {
          const prefix = body.prefix === "" ? "" : `${body.prefix}/`
          const names = new Map<string, Buffer | undefined>()
          for (const [path, bytes] of objects) {
            if (!path.startsWith(prefix)) continue
            const [name = "", ...deeper] = path.slice(prefix.length).split("/")
            names.set(name, deeper.length > 0 ? undefined : bytes)
          }
          const { limit = 100, offset = 0 } = body as { readonly limit?: number; readonly offset?: number }
          return [...names]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .slice(offset, offset + limit)
            .map(([name, bytes]) =>
              bytes === undefined
                ? { name, id: null, metadata: null }
                : { name, id: `id-${name}`, metadata: { size: bytes.length } }
            )
        }

        const route = (request: IncomingMessage, response: ServerResponse, body: Buffer): ServerResponse => {
          const path = decodeURIComponent((request.url ?? "").replace("/storage/v1", ""))
          const { method } = request
          const isBrowser = request.headers.apikey === publicKey
          if (request.headers.apikey !== key && !isBrowser) return refuse(response, "denied")
          if (method !== "GET" && !path.startsWith("/object/list/") && (isReadOnly || isBrowser)) {
            return refuse(response, "notAllowed")
          }
          // Missing permission looks like "missing" (docs/reference/supabase-storage.md#errors).
          if (isBrowser && path.startsWith("/object/list/")) return json(response, 200, [])
          if (isBrowser) return refuse(response, path.startsWith("/bucket") ? "noBucket" : "noKey")
          if (path === "/bucket" && method === "POST") {
            if (bucket !== undefined) return refuse(response, "exists")
            bucket = new Map()
            return json(response, 200, { name: "medipim-raw" })
          }
          if (path.startsWith("/object/list/")) {
            return json(response, 200, bucket === undefined ? [] : list(bucket, JSON.parse(body.toString())))
          }
          if (bucket === undefined) return refuse(response, "noBucket")
          if (path === "/bucket/medipim-raw") return json(response, 200, { id: "medipim-raw", public: isPublic })
          if (path === "/object/medipim-raw" && method === "DELETE") {
            const { prefixes } = JSON.parse(body.toString()) as { readonly prefixes: ReadonlyArray<string> }
            const gone = prefixes.filter((one) => bucket?.delete(one))
            return json(
              response,
              200,
              gone.map((name) => ({ name }))
            )
          }
          const object = /^\/object\/medipim-raw\/(.+)$/.exec(path)?.[1]
          if (object === undefined) return json(response, 404, { statusCode: 404, error: "Not Found", message: path })
          if (method === "POST" || method === "PUT") {
            if (body.length > sizeLimit) return refuse(response, "tooLarge")
            if (bucket.has(object) && request.headers["x-upsert"] !== "true") return refuse(response, "exists")
            bucket.set(object, body)
            return json(response, 200, { Key: `medipim-raw/${object}`, Id: "1" })
          }
          const bytes = bucket.get(object)
          if (bytes === undefined) return refuse(response, "noKey")
          response.writeHead(200, { "content-length": bytes.length, "content-type": "application/gzip" })
          return response.end(bytes)
        }

        const answer = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
          const body = await read(request)
          seen.push(`${request.method} ${request.url}`)
          switch (troubles.shift()) {
            case "unavailable":
              return json(response, 500, internalError)
            case "slow-down":
              return json(response, 429, { statusCode: "429", code: "SlowDown", message: "Too many connections" })
            case "html":
              response.writeHead(502, { "content-type": "text/html" })
              response.end("<html>Bad gateway</html>")
              return
            case "hang":
              return
            case "answer-lost":
              // The work is done and nobody is told.
              await route(
                request,
                new Proxy(response, {
                  get: (_target, name) => (name === "writeHead" || name === "end" ? () => {} : undefined)
                }),
                body
              )
              request.socket.destroy()
              return
            case "cut-body":
              response.writeHead(200, { "content-length": 1_000_000 })
              response.write(Buffer.alloc(1000))
              setTimeout(() => request.socket.destroy(), 20)
              return
            default:
              return route(request, response, body)
          }
        }

        const server = createServer((request, response) => {
          answer(request, response).catch((error: Error) => json(response, 500, { message: error.message }))
        })
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          const service = SupabaseStandIn.of({
            url: `http://127.0.0.1:${port}`,
            key,
            publicKey,
            seen: () => seen,
            trouble: (...next) => {
              troubles = [...next]
            },
            troubleLeft: () => troubles,
            dropBucket: () => {
              bucket = undefined
            },
            setPublic: (now) => {
              isPublic = now
            },
            setReadOnly: (now) => {
              isReadOnly = now
            },
            damage: (pattern, change) => {
              const found = [...(bucket ?? [])].filter(([name]) => pattern.test(name))
              for (const [name, bytes] of found) bucket?.set(name, change(bytes))
              return found.length
            }
          })
          resume(Effect.succeed({ server, service }))
        })
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ).pipe(Effect.map(({ service }) => service))
  )
}
