import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"

/** Milliseconds, unless they say otherwise. The limits of Node hold for requests only: an answer may last for hours. */
export interface Limits {
  /** For the head of a request, from its first byte or from the opening of the connection. */
  readonly head: number
  /** For the whole request, its body too; no body of ours is larger than 64 KiB. */
  readonly request: number
  /** How often Node looks for requests that take longer. */
  readonly check: number
  /** Bytes of the first line with its address and of all headers; more is answered with 431. */
  readonly headBytes: number
  /** Further headers are not looked at. */
  readonly headers: number
  /** Below the 1,024 files that a process may commonly have open; further callers are turned away. */
  readonly connections: number
}

export const standard: Limits = {
  head: 10_000,
  request: 30_000,
  check: 2_000,
  headBytes: 8 * 1024,
  headers: 100,
  connections: 500
}

export interface Guarded {
  readonly server: Server
  /**
   * For how many milliseconds no request was under way. Those for `/healthz`, which a machine is asked for ever, and those that
   * were refused do not count.
   */
  readonly quiet: () => number
  /**
   * To be called when the server stops listening. From then on a connection lives only as long as its request, and all
   * end after this many milliseconds: Node itself waits for those on which nothing comes, or nobody reads.
   */
  readonly drain: (patience: number) => void
}

/** A server of Node that slow, silent or greedy clients cannot hold up. */
export const make = (limits: Limits = standard): Guarded => {
  const server = createServer({
    // A client that offers another protocol is answered in this one, and counted like the others.
    ...{ shouldUpgradeCallback: () => false },
    headersTimeout: limits.head,
    requestTimeout: limits.request,
    connectionsCheckingInterval: limits.check,
    maxHeaderSize: limits.headBytes
  })
  server.maxHeadersCount = limits.headers
  server.maxConnections = limits.connections

  const underWay = new Map<Socket, number>()
  const count = (socket: Socket, change: number) => {
    const requests = underWay.get(socket)
    if (requests !== undefined) underWay.set(socket, requests + change)
  }
  server.on("connection", (socket) => {
    underWay.set(socket, 0)
    socket.once("close", () => underWay.delete(socket))
  })
  let wanted = 0
  let quietSince = performance.now()
  const follow = ({ socket, url }: IncomingMessage, response: ServerResponse) => {
    const one = url === "/healthz" ? 0 : 1
    wanted += one
    count(socket, 1)
    response.once("close", () => {
      count(socket, -1)
      wanted -= one
      // What is refused is no work: noise from the internet keeps nobody awake.
      if (one === 1 && response.statusCode < 400) quietSince = performance.now()
    })
  }
  // Two names of one thing: the second is of clients that ask before they send a body.
  server.on("request", follow)
  server.on("checkContinue", follow)

  const closeUnused = () => {
    for (const [socket, requests] of underWay) if (requests === 0) socket.destroySoon()
  }
  return {
    server,
    quiet: () => (wanted > 0 ? 0 : performance.now() - quietSince),
    drain: (patience) => {
      closeUnused()
      // Those that come free later, and those that the system had accepted before the listening ended.
      const again = setInterval(closeUnused, 100).unref()
      const end = setTimeout(() => server.closeAllConnections(), patience).unref()
      server.once("close", () => {
        clearInterval(again)
        clearTimeout(end)
      })
    }
  }
}
