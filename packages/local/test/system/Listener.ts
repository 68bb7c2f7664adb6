import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { json } from "node:stream/consumers"
import { Effect } from "effect"

/** A notification. */
export interface Told {
  readonly text: string
  readonly run: unknown
}

/** Who is notified: its address is for `NOTIFY_URL`. */
export const listener = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly told: Array<Told>; readonly close: () => void }>((resume) => {
    const told: Array<Told> = []
    const server = createServer(async (request, response) => {
      told.push((await json(request)) as Told)
      response.end()
    })
    server.listen(0, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      resume(Effect.succeed({ url, told, close: () => server.close().closeAllConnections() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)
