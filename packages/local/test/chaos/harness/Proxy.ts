import { request as ask, createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"
import type { Place } from "./ByteOffset.ts"

/** A point on the way between two services where something happens. */
export interface Trap {
  /** Of `METHOD /path`. */
  readonly where: RegExp
  /** Before the request is passed on, when the answer begins, or inside its body. */
  readonly at: "request" | "answer" | "body"
  /** In a body: where; at its first byte when not said. */
  readonly place?: Place
  /**
   * Hold what comes until the trap is opened and then break the connection, break it now, change a byte, refuse in this
   * form; or hold the request and pass it on when the trap is opened, whether its sender is still there or not.
   */
  readonly what?: "hold" | "cut" | "flip" | "late" | { readonly status: number; readonly body: string }
  /** How many exchanges it happens to; one when not said. */
  readonly times?: number
}

export interface Armed {
  /** Ends when it has happened for the last time. */
  readonly sprung: Effect.Effect<void>
  /** Lets go what is held; ends when what was late has been answered. */
  readonly open: Effect.Effect<void>
  /** What must hold besides, once the run has ended. */
  readonly complaints?: Effect.Effect<ReadonlyArray<string>>
}

interface Passage {
  readonly url: string
  readonly set: (trap: Trap) => Armed
  /** Breaks every connection and lets none through, until it is there again. */
  readonly away: (isAway: boolean) => Effect.Effect<void>
  /** Bytes of the bodies that were passed on. */
  readonly bytes: () => number
  /** Requests, as `METHOD /path`, whose good answers were passed on to their end. */
  readonly answered: () => ReadonlyArray<string>
}

interface Snare {
  readonly trap: Trap
  readonly spring: () => void
  readonly held: Array<() => Promise<void> | void>
  left: number
}

const flipped = (piece: Buffer): Buffer => {
  const copy = Buffer.from(piece)
  const middle = Math.floor(copy.length / 2)
  copy[middle] = (copy[middle] ?? 0) ^ 0xff
  return copy
}

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const pieces: Array<Buffer> = []
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Passes on what comes to it, but for what its trap says. */
export const makeProxy = (target: string) =>
  Effect.gen(function* () {
    let armed: Snare | undefined
    let isAway = false
    let bytes = 0
    const answered: Array<string> = []

    /** Sends a request that its sender may have given up, and waits for the answer. */
    const sendLate = ({ url, method, headers }: IncomingMessage, body: Promise<Buffer>): Promise<void> =>
      body.then(
        (content) =>
          new Promise((resolve) => {
            const sent = ask(`${target}${url}`, { method: method ?? "GET", headers })
            sent.on("error", () => resolve())
            sent.on("response", (answer) => answer.resume().on("close", resolve))
            sent.end(content)
          })
      )

    const strike = ({ trap, spring, held, left }: Snare, drop: () => void, response: ServerResponse): void => {
      const { what = "hold" } = trap
      if (left === 0) spring()
      if (what === "hold") held.push(drop)
      else if (typeof what === "object") {
        response.writeHead(what.status, { "content-type": "application/json" })
        response.end(what.body)
      } else drop()
    }

    const pass = (request: IncomingMessage, response: ServerResponse): void => {
      if (isAway) {
        request.socket.destroy()
        return
      }
      const snare = armed?.trap.where.test(`${request.method} ${request.url}`) ? armed : undefined
      if (snare !== undefined) snare.left -= 1
      if (snare?.left === 0) armed = undefined
      const trap = snare?.trap
      if (snare !== undefined && trap?.at === "request") {
        if (trap.what === "late") {
          const body = bodyOf(request)
          snare.spring()
          snare.held.push(() => sendLate(request, body).finally(() => response.destroy()))
          return
        }
        request.resume()
        strike(snare, () => response.destroy(), response)
        return
      }
      const upstream = ask(`${target}${request.url}`, { method: request.method ?? "GET", headers: request.headers })
      const drop = () => {
        response.destroy()
        upstream.destroy()
      }
      upstream.on("error", () => response.destroy())
      response.on("close", () => upstream.destroy())
      upstream.on("response", (answer) => {
        answer.on("error", () => response.destroy())
        if (snare !== undefined && trap?.at === "answer") return strike(snare, drop, response)
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        response.flushHeaders()
        const place = trap?.place ?? (() => 0)
        let passed = 0
        let isStruck = false
        answer.on("data", (piece: Buffer) => {
          if (isStruck && trap?.what !== "flip") return
          let sent = piece
          const at = snare === undefined || isStruck ? undefined : place(piece, passed)
          if (snare !== undefined && at !== undefined) {
            isStruck = true
            if (trap?.what === "flip") {
              snare.spring()
              sent = flipped(piece)
            } else {
              bytes += at
              // What stands before the place is to arrive: the connection breaks only behind it.
              response.write(piece.subarray(0, at), () => strike(snare, drop, response))
              return
            }
          }
          passed += sent.length
          bytes += sent.length
          if (!response.write(sent)) {
            answer.pause()
            response.once("drain", () => answer.resume())
          }
        })
        answer.on("end", () => {
          if (!isStruck && answer.statusCode === 200) answered.push(`${request.method} ${request.url}`)
          if (!isStruck || trap?.what === "flip") response.end()
        })
      })
      request.pipe(upstream)
    }

    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const made = createServer(pass)
        made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
      }),
      (made) =>
        Effect.sync(() => {
          made.close()
          made.closeAllConnections()
        })
    )
    const { port } = server.address() as AddressInfo
    const set = (trap: Trap): Armed => {
      let spring = () => {}
      const sprung = new Promise<void>((resolve) => {
        spring = resolve
      })
      const mine: Snare = { trap, spring, held: [], left: trap.times ?? 1 }
      armed = mine
      return {
        sprung: Effect.promise(() => sprung),
        open: Effect.promise(async () => {
          if (armed === mine) armed = undefined
          await Promise.all(mine.held.splice(0).map((release) => release()))
        })
      }
    }
    const away = (now: boolean) =>
      Effect.sync(() => {
        isAway = now
        if (now) server.closeAllConnections()
      })
    return {
      url: `http://127.0.0.1:${port}`,
      set,
      away,
      bytes: () => bytes,
      answered: () => answered
    } satisfies Passage
  })
