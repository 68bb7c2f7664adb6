import type { AddressInfo } from "node:net"
import { Context, Data, Effect, Layer } from "effect"
import { makeServer, type Options } from "./Server.ts"

export class CannotListen extends Data.TaggedError("CannotListen")<{ readonly message: string }> {}

/** A MediPim that behaves as docs/reference/medipim-api.md says, its faults included. Not for production. */
export class Simulator extends Context.Service<
  Simulator,
  {
    readonly port: number
    readonly origin: string
    /** The whole address of the product stream. */
    readonly url: string
  }
>()("simulator/Simulator") {
  static readonly layer = (options: Options) =>
    Layer.effect(
      Simulator,
      Effect.acquireRelease(
        Effect.callback<ReturnType<typeof makeServer>, CannotListen>((resume) => {
          const server = makeServer(options)
          server.once("error", ({ message }) => resume(Effect.fail(new CannotListen({ message }))))
          // Without a host Node takes IPv6 and IPv4, or IPv4 alone where the kernel has no IPv6.
          server.listen({ port: options.port, host: options.listenAddress }, () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.callback<void>((resume) => {
            server.close(() => resume(Effect.void))
            // A stream that stalls on purpose would hold the process for ever.
            server.closeAllConnections()
          })
      ).pipe(
        Effect.map((server) => {
          const { port } = server.address() as AddressInfo
          const origin = `http://localhost:${port}`
          return Simulator.of({ port, origin, url: `${origin}/v4/products/stream` })
        })
      )
    )
}
