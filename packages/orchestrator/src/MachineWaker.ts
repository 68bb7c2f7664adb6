import { Context, Effect, Layer, Option } from "effect"
import { HttpClient } from "effect/http"

/** A machine starts in seconds, and the caller retries anyway. */
const timeout = "30 seconds"

export type ServiceName = "fetcher" | "maintainer"

/**
 * Wakes services that end when they have nothing to do. Calls go over a private network, which reaches running machines only; a
 * request to the public address of a service starts its machine (docs/decisions/0013).
 */
export class MachineWaker extends Context.Service<
  MachineWaker,
  {
    /** Asks a service that could not be reached to start. Does nothing for one that has no address to wake it by. */
    readonly wake: (service: ServiceName) => Effect.Effect<void>
  }
>()("orchestrator/MachineWaker") {
  static readonly layer = (addresses: Readonly<Record<ServiceName, Option.Option<string>>>) =>
    Layer.effect(
      MachineWaker,
      Effect.gen(function* () {
        const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)

        const ask = Effect.fn("MachineWaker.wake")(function* (service: ServiceName, address: string) {
          yield* Effect.logInfo(`The ${service} cannot be reached: it is woken by ${address}`)
          yield* client.get(`${address}/healthz`).pipe(
            Effect.timeout(timeout),
            Effect.catch((error) => Effect.logWarning(`The ${service} could not be woken: ${error.message}`))
          )
        })

        return MachineWaker.of({
          wake: (service) =>
            Option.match(addresses[service], {
              onNone: () => Effect.void,
              onSome: (address) => ask(service, address)
            })
        })
      })
    )
}
