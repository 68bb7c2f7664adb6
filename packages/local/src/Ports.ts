import { createServer } from "node:net"
import { port } from "@medipim/platform/process/ServiceSettings"
import { loadSettings, withDefault } from "@medipim/platform/process/Settings"
import { Data, Effect } from "effect"
import { freePort } from "./EmbeddedPostgres.ts"

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

const variables = {
  fetcher: withDefault("FETCHER_PORT", "port of the fetcher", port, 3001),
  maintainer: withDefault("MAINTAINER_PORT", "port of the maintainer", port, 3002),
  orchestrator: withDefault("ORCHESTRATOR_PORT", "port of the orchestrator", port, 3003),
  simulator: withDefault("SIMULATOR_PORT", "port of the simulated MediPim", port, 3010),
  postgres: withDefault("POSTGRES_PORT", "port of the embedded Postgres", port, 54_329),
  metrics: withDefault("METRICS_PORT", "first of three ports for metrics", port, 9091)
}

export type Ports = { readonly [Name in keyof typeof variables]: Port }

/** The ports of the stack. Each variable moves its port; the metrics of the services take three in a row. */
export const ports = Effect.map(
  loadSettings(variables),
  (values) =>
    Object.fromEntries(
      Object.entries(variables).map(([name, { variable }]) => [
        name,
        { variable, port: values[name as keyof typeof values] }
      ])
    ) as Ports
)

/** Ports that no program held a moment ago: for tests and benchmarks beside a stack that runs. */
export const freePorts = Effect.promise(
  async () =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(variables).map(async ([name, { variable }]) => [name, { variable, port: await freePort() }])
      )
    ) as Ports
)

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
