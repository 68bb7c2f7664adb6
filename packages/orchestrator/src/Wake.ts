import { Context, Effect, Layer, Option } from "effect"
import { HttpClient } from "effect/http"

/** A machine starts in seconds; whoever called tries again afterwards anyway. */
const patience = "30 seconds"

export type Sleeper = "fetcher" | "maintainer"

/**
 * Wakes services that end when they have nothing to do. Calls go over a private network, which reaches running machines only; a
 * request to the public address of a service starts its machine (docs/decisions/0013).
 */
export class Wake extends Context.Service<
  Wake,
  {
    /** Asks a service that could not be reached to start. Does nothing for one that has no address to wake it by. */
    readonly call: (service: Sleeper) => Effect.Effect<void>
  }
>()("orchestrator/Wake") {
  static readonly layer = (addresses: Readonly<Record<Sleeper, Option.Option<string>>>) =>
    Layer.effect(
      Wake,
      Effect.gen(function* () {
        const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)

        const ask = Effect.fn("Wake.call")(function* (service: Sleeper, address: string) {
          yield* Effect.logInfo(`The ${service} cannot be reached: it is woken by ${address}`)
          yield* client.get(`${address}/healthz`).pipe(
            Effect.timeout(patience),
            Effect.catch((error) => Effect.logWarning(`The ${service} could not be woken: ${error.message}`))
          )
        })

        return Wake.of({
          call: (service) =>
            Option.match(addresses[service], {
              onNone: () => Effect.void,
              onSome: (address) => ask(service, address)
            })
        })
      })
    )
}
