import { type IncomingMessage, Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"

/** Milliseconds, unless they say otherwise. The limits of Node hold for requests only: an answer may last for hours. */
export interface Limits {
  /** For the head of a request, from its first byte or from the opening of the connection. */
  readonly head: number
  /** For the whole request, its body too; no body of ours is larger than 64 KiB. */
  readonly request: number
  /** How often Node looks for requests that take longer. */
  readonly check: number
  /** For a caller that reads nothing of an answer that waits for it. */
  readonly unread: number
  /** Bytes of the first line with its address and of all headers; more is answered with 431. */
  readonly headBytes: number
  /** Further headers are not looked at. */
  readonly headers: number
  /** Below the 1,024 files that a process may commonly have open; the least useful connection makes room for a new one. */
  readonly connections: number
}

/** The limits of every service; docs/decisions/0014-who-is-refused-and-who-waits.md has the reasons. */
export const defaultLimits: Limits = {
  head: 10_000,
  request: 30_000,
  check: 2_000,
  unread: 20_000,
  headBytes: 8 * 1024,
  headers: 100,
  connections: 500
}

/** An HTTP server within `Limits`. */
export interface HardenedServer {
  readonly server: Server
  /** For how many milliseconds no work was under way. */
  readonly quiet: () => number
  /**
   * To be called when the server stops listening. From then on a connection lives only as long as its request, and all
   * end after this many milliseconds: Node itself waits for silent connections and unread answers.
   */
  readonly drain: (graceMillis: number) => void
}

/** The request that is under way on a connection, and its answer. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Of an HTTP parser of Node, which takes what this answers as a sign to stop when it is `skip`. */
interface Parser {
  onIncoming: ((request: IncomingMessage, keepsAlive: boolean) => number) | null
}
/** What Node's own parser is given for an upgrade: the rest of the bytes is not HTTP. */
const skip = 2

/**
 * One answer at a time for each connection. HTTP allows a client to ask again before it is answered, but then Node keeps
 * all its answers in memory. Today's clients and proxies do not pipeline; the connection of one that does is closed.
 */
class OneAtATime extends Server {
  readonly exchanges = new Map<Socket, Exchange | undefined>()

  /**
   * Closes a connection on its second request, before Node has made objects of it and of all that was read with it: 64 KB hold
   * two thousand requests.
   */
  watch(socket: Socket): void {
    const { parser } = socket as Socket & { readonly parser?: Parser }
    const accept = parser?.onIncoming
    if (parser === undefined || accept == null) return
    parser.onIncoming = (request, keepsAlive) => {
      if (this.isFree(socket)) return accept(request, keepsAlive)
      socket.destroy()
      return skip
    }
  }

  override emit(event: string, ...args: ReadonlyArray<unknown>): boolean {
    // The others are of clients that ask before they send a body, for what we know and for what we do not.
    if (event === "request" || event === "checkContinue" || event === "checkExpectation") {
      const [request, response] = args as unknown as [IncomingMessage, ServerResponse]
      this.begin({ request, response })
    }
    return super.emit(event as "request", ...(args as [never, never]))
  }

  private isFree(socket: Socket): boolean {
    return this.exchanges.has(socket) && this.exchanges.get(socket) === undefined
  }

  private begin(exchange: Exchange): void {
    const { socket } = exchange.request
    // To the end of the map: those at its beginning have asked for nothing for longest.
    this.exchanges.delete(socket)
    this.exchanges.set(socket, exchange)
    exchange.response.once("close", () => {
      if (this.exchanges.get(socket) === exchange) this.exchanges.set(socket, undefined)
    })
  }
}

/** An answer is complete, and its caller does not take it. */
const isUnread = ({ response }: Exchange): boolean => response.writableEnded && !response.writableFinished

/**
 * A server of Node that slow, silent or greedy clients cannot hold up, nor fill. `isWork` decides which requests keep the
 * process awake.
 */
export const make = (
  limits: Limits = defaultLimits,
  isWork: (request: IncomingMessage) => boolean = () => true
): HardenedServer => {
  const server = new OneAtATime({
    // A client that offers another protocol is answered in this one, and counted like the others.
    ...{ shouldUpgradeCallback: () => false },
    headersTimeout: limits.head,
    requestTimeout: limits.request,
    connectionsCheckingInterval: limits.check,
    maxHeaderSize: limits.headBytes
  })
  server.maxHeadersCount = limits.headers
  const { exchanges } = server

  /** Idle connections go first, then those with an unread answer, then other strangers; never one at work. */
  const leastUseful = (): Socket | undefined => {
    const first = (is: (exchange: Exchange | undefined) => boolean): Socket | undefined => {
      for (const [socket, exchange] of exchanges) if (is(exchange)) return socket
      return undefined
    }
    return (
      first((exchange) => exchange === undefined) ??
      first((exchange) => exchange !== undefined && isUnread(exchange)) ??
      first((exchange) => exchange !== undefined && !isWork(exchange.request))
    )
  }
  server.on("connection", (socket: Socket) => {
    if (exchanges.size >= limits.connections) {
      const victim = leastUseful() ?? socket
      exchanges.delete(victim)
      victim.destroy()
      if (victim === socket) return
    }
    exchanges.set(socket, undefined)
    server.watch(socket)
    socket.once("close", () => exchanges.delete(socket))
  })

  // Node reports a timeout when no byte has moved in either direction. A stream with nothing to send may stay open; one
  // whose client does not read may not.
  server.timeout = limits.unread
  server.on("timeout", (socket: Socket) => {
    if (exchanges.get(socket) === undefined || socket.writableLength > 0) socket.destroy()
  })

  let quietSince = performance.now()
  const follow = (request: IncomingMessage, response: ServerResponse) => {
    response.once("close", () => {
      if (isWork(request)) quietSince = performance.now()
    })
  }
  server.on("request", follow)
  server.on("checkContinue", follow)
  // RFC 9110, section 10.1.1: an expectation that we do not know.
  server.on("checkExpectation", (_request, response: ServerResponse) => response.writeHead(417).end())
  const isWorking = () => [...exchanges.values()].some((exchange) => exchange !== undefined && isWork(exchange.request))

  const closeUnused = () => {
    for (const [socket, exchange] of exchanges) if (exchange === undefined) socket.destroySoon()
  }
  return {
    server,
    quiet: () => (isWorking() ? 0 : performance.now() - quietSince),
    drain: (graceMillis) => {
      closeUnused()
      // Those that come free later, and those that the system had accepted before the listening ended.
      const again = setInterval(closeUnused, 100).unref()
      const end = setTimeout(() => server.closeAllConnections(), graceMillis).unref()
      server.once("close", () => {
        clearInterval(again)
        clearTimeout(end)
      })
    }
  }
}
