import { Context, Deferred, Effect, Layer } from "effect"

/**
 * Signals that the process is stopping. The server lets answers in flight continue for a while; those that
 * would never end by themselves listen here and end.
 */
export class Draining extends Context.Service<
  Draining,
  { readonly begin: Effect.Effect<void>; readonly begun: Effect.Effect<void> }
>()("platform/Draining") {
  static readonly layer = Layer.effect(
    Draining,
    Effect.map(Deferred.make<void>(), (stopping) =>
      Draining.of({ begin: Effect.asVoid(Deferred.succeed(stopping, undefined)), begun: Deferred.await(stopping) })
    )
  )
}
