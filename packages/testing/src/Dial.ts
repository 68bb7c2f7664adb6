import { connect, type Socket } from "node:net"
import { Effect } from "effect"

/** A connection by hand: what came over it, and when it is closed by the other side. */
export const dial = Effect.fnUntraced(function* (port: number, first = "") {
  const socket = yield* Effect.callback<Socket>((resume) => {
    const opened: Socket = connect(port, "127.0.0.1", () => resume(Effect.succeed(opened)))
  })
  let text = ""
  socket.on("error", () => {})
  socket.on("data", (piece) => {
    text += piece
  })
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
  if (first !== "") socket.write(first)
  return { socket, text: () => text, closed: Effect.promise(() => closed) }
})
