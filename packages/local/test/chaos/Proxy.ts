import { request as ask, createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"

/** A place on the way between two services where something happens, once. */
export interface Trap {
  /** Of `METHOD /path`. */
  readonly where: RegExp
  /** Before the request is passed on, when the answer begins, or inside its body. */
  readonly at: "request" | "answer" | "body"
  /** In a body: after so many bytes, or before the piece that holds this text. */
  readonly after?: number
  readonly text?: string
  /** Hold what comes until the trap is opened, break the connection, change a byte, or refuse in this form. */
  readonly what?: "hold" | "cut" | "flip" | { readonly status: number; readonly body: string }
}

export interface Armed {
  readonly sprung: Effect.Effect<void>
  readonly open: Effect.Effect<void>
}

interface Passage {
  readonly url: string
  readonly set: (trap: Trap) => Armed
}

const isHit = ({ after = 0, text }: Trap, passed: number, piece: Buffer): boolean =>
  text === undefined ? passed + piece.length > after : piece.includes(text)

const flipped = (piece: Buffer): Buffer => {
  const copy = Buffer.from(piece)
  const middle = Math.floor(copy.length / 2)
  copy[middle] = (copy[middle] ?? 0) ^ 0xff
  return copy
}

/** Passes on what comes to it, but for what its trap says. */
export const makeProxy = (target: string) =>
  Effect.gen(function* () {
    let armed: { readonly trap: Trap; readonly spring: () => void; readonly held: Array<() => void> } | undefined

    const strike = (trap: Trap, found: NonNullable<typeof armed>, drop: () => void, response: ServerResponse): void => {
      const { what = "hold" } = trap
      found.spring()
      if (what === "hold") found.held.push(drop)
      else if (typeof what === "object") {
        response.writeHead(what.status, { "content-type": "application/json" })
        response.end(what.body)
      } else drop()
    }

    const pass = (request: IncomingMessage, response: ServerResponse): void => {
      const found = armed?.trap.where.test(`${request.method} ${request.url}`) ? armed : undefined
      if (found !== undefined) armed = undefined
      const trap = found?.trap
      if (found !== undefined && trap?.at === "request") {
        request.resume()
        strike(trap, found, () => response.destroy(), response)
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
        if (found !== undefined && trap?.at === "answer") return strike(trap, found, drop, response)
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        response.flushHeaders()
        let passed = 0
        let isStruck = false
        answer.on("data", (piece: Buffer) => {
          if (isStruck && trap?.what !== "flip") return
          let sent = piece
          if (found !== undefined && trap !== undefined && !isStruck && isHit(trap, passed, piece)) {
            isStruck = true
            if (trap.what === "flip") {
              found.spring()
              sent = flipped(piece)
            } else {
              if (trap.text === undefined) response.write(piece.subarray(0, Math.max(0, (trap.after ?? 0) - passed)))
              return strike(trap, found, drop, response)
            }
          }
          passed += sent.length
          if (!response.write(sent)) {
            answer.pause()
            response.once("drain", () => answer.resume())
          }
        })
        answer.on("end", () => {
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
      const mine = { trap, spring, held: [] as Array<() => void> }
      armed = mine
      return {
        sprung: Effect.promise(() => sprung),
        open: Effect.sync(() => {
          if (armed === mine) armed = undefined
          for (const drop of mine.held) drop()
        })
      }
    }
    return { url: `http://127.0.0.1:${port}`, set } satisfies Passage
  })
