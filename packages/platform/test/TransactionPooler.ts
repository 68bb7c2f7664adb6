import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Effect, Redacted } from "effect"

/** Messages of the server (PostgreSQL manual, 55.7): a byte for the type, four for the length. */
const readyForQuery = "Z".charCodeAt(0)
const idle = "I".charCodeAt(0)
/** A client that goes; its server stays. */
const terminate = "X".charCodeAt(0)

/** The bytes of whole messages, and whether the last of them says that no transaction is open. */
const makeReader = () => {
  let rest = Buffer.alloc(0)
  return (bytes: Buffer): boolean => {
    rest = Buffer.concat([rest, bytes])
    let isIdle = false
    while (rest.length >= 5 && rest.length >= 1 + rest.readInt32BE(1)) {
      const length = 1 + rest.readInt32BE(1)
      isIdle = rest[0] === readyForQuery && rest[5] === idle
      rest = rest.subarray(length)
    }
    return isIdle && rest.length === 0
  }
}

interface Server {
  readonly socket: Socket
  client: Socket | undefined
}

/**
 * A pooler in transaction mode, as PgBouncer and port 6543 of Supabase are: a client has a server for as long as a transaction,
 * and gets the one that came free last for the next. Each client logs in through a server of its own, which then serves all.
 */
export const transactionPooler = Effect.fnUntraced(function* (databaseUrl: Redacted.Redacted) {
  const address = new URL(Redacted.value(databaseUrl))
  const { hostname, port: serverPort } = address
  const free: Array<Server> = []
  const waiting: Array<{ readonly client: Socket; readonly bytes: Buffer }> = []
  const sockets = new Set<Socket>()

  const give = (server: Server, client: Socket, bytes: Buffer): void => {
    server.client = client
    server.socket.write(bytes)
  }
  const release = (server: Server): void => {
    server.client = undefined
    const next = waiting.shift()
    if (next === undefined) free.push(server)
    else give(server, next.client, next.bytes)
  }
  const pooler = createServer((client) => {
    const socket = connect(Number(serverPort), hostname)
    const server: Server = { socket, client }
    const isIdle = makeReader()
    const own = (one: Server | undefined) => (one?.client === client ? one : undefined)
    let current: Server | undefined = server
    let isLogin = true
    socket.on("data", (bytes) => {
      server.client?.write(bytes)
      if (!isIdle(bytes)) return
      // A server that is new is taken last: PgBouncer would make it only when no other is free.
      if (isLogin) {
        server.client = undefined
        free.unshift(server)
      } else release(server)
      isLogin = false
    })
    client.on("data", (bytes) => {
      if (bytes[0] === terminate) return client.end()
      const held = own(current)
      if (held !== undefined) return held.socket.write(bytes)
      const next = free.pop()
      if (next === undefined) {
        waiting.push({ client, bytes })
        return
      }
      current = next
      give(next, client, bytes)
    })
    for (const one of [client, socket]) {
      sockets.add(one)
      one.on("error", () => {})
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      pooler.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        pooler.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  address.port = String((pooler.address() as AddressInfo).port)
  return Redacted.make(address.href)
})
