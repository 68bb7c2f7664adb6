import { createServer } from "node:net"
import { Config, Data, Effect } from "effect"

export interface Port {
  readonly variable: string
  readonly port: number
}

export class PortsTaken extends Data.TaggedError("PortsTaken")<{ readonly taken: ReadonlyArray<Port> }> {
  override get message(): string {
    const first = this.taken[0]
    return [
      "These ports are taken by other programs; is another `npm start` running?",
      ...this.taken.map(({ variable, port }) => `  ${port} (${variable})`),
      `Stop them, or move ours: ${first?.variable}=${(first?.port ?? 0) + 1000} npm start`
    ].join("\n")
  }
}

const portOf = (variable: string, port: number) =>
  Config.Port(variable).pipe(
    Config.withDefault(port),
    Config.map((chosen): Port => ({ variable, port: chosen }))
  )

/** The ports of the stack. Each variable moves its port; the metrics of the services follow on the next two. */
export const ports = Config.all({
  fetcher: portOf("FETCHER_PORT", 3001),
  maintainer: portOf("MAINTAINER_PORT", 3002),
  orchestrator: portOf("ORCHESTRATOR_PORT", 3003),
  simulator: portOf("SIMULATOR_PORT", 3010),
  postgres: portOf("POSTGRES_PORT", 54_329),
  metrics: portOf("METRICS_PORT", 9091)
})
export type Ports = Config.Success<typeof ports>

const isFree = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "EADDRINUSE"))
    probe.listen({ port, host }, () => probe.close(() => resolve(true)))
  })

const isTaken = async ({ port }: Port): Promise<boolean> =>
  !((await isFree(port, "127.0.0.1")) && (await isFree(port, "::")))

/** Fails with every port that another program holds. */
export const assertFree = Effect.fn("Ports.assertFree")(function* ({ metrics, ...single }: Ports) {
  const all = [...Object.values(single), ...[0, 1, 2].map((n) => ({ ...metrics, port: metrics.port + n }))]
  const taken: Array<Port> = []
  for (const port of all) if (yield* Effect.promise(() => isTaken(port))) taken.push(port)
  if (taken.length > 0) return yield* new PortsTaken({ taken })
})
