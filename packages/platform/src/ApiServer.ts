import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { ByteSize, Duration, Effect, Layer, Option, type Redacted } from "effect"
import { HttpIncomingMessage, HttpRouter } from "effect/http"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup, HttpApiScalar } from "effect/http-api"
import * as AdminKeyGuard from "./AdminKeyGuard.ts"
import { Draining } from "./Draining.ts"
import * as Idle from "./Idle.ts"
import * as Metrics from "./Metrics.ts"
import * as NodeServer from "./NodeServer.ts"
import * as RequestErrorsGuard from "./RequestErrorsGuard.ts"
import { secured } from "./SecurityHeaders.ts"

/** No request of ours is larger than a few hundred bytes. */
const largestBody = ByteSize.kibibytes(64)
/** How long running requests may go on after SIGTERM. */
const drain = Duration.seconds(20)
/** After that they are interrupted; what is still open a second later is cut off. */
const patience = Duration.toMillis(drain) + 1000

interface Listening {
  readonly port: number
  readonly metricsPort: number
  readonly adminKey: Redacted.Redacted
  readonly previousAdminKey: Option.Option<Redacted.Redacted>
  readonly flyAppName: Option.Option<string>
  /** Without a request for so long, the process ends. */
  readonly idleShutdown?: Option.Option<Duration.Duration>
}

/** What guards the routes: the handlers of an API are built with it, and its server answers by it. */
export const guards = (keys: Pick<Listening, "adminKey" | "previousAdminKey" | "flyAppName">) =>
  Layer.merge(AdminKeyGuard.layer(keys), RequestErrorsGuard.layer)

/**
 * Serves an API with its documents (`/docs`, `/openapi.json`) on all addresses, IPv6 and IPv4, and its metrics on a
 * second port. On SIGTERM it stops listening at once and lets running requests finish.
 */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  listening: Listening,
  limits?: NodeServer.Limits
) => {
  const node = NodeServer.make(limits)
  const routes = HttpApiBuilder.layer(api, { openapiPath: "/openapi.json" }).pipe(Layer.provide(guards(listening)))
  // The fonts of Scalar would come from its own servers, which our policy forbids.
  const docs = HttpApiScalar.layer(api, { path: "/docs", scalar: { withDefaultFonts: false } })
  const app = Layer.merge(routes, docs)
  const server = HttpRouter.serve(app, { disableLogger: true, disableListenLog: true, middleware: secured }).pipe(
    Layer.provide(
      NodeHttpServer.layer(() => node.server, { port: listening.port, host: "::", gracefulShutdownTimeout: drain })
    ),
    Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, largestBody))
  )
  // Built after the server, so its end comes before the server waits for its answers.
  const signal = Layer.effectDiscard(
    Effect.flatMap(Draining, ({ begin }) =>
      Effect.addFinalizer(() =>
        Effect.andThen(
          begin,
          Effect.sync(() => node.drain(patience))
        )
      )
    )
  )
  const idle = Option.match(listening.idleShutdown ?? Option.none(), {
    onNone: () => Layer.empty,
    onSome: (patience) => Idle.layer(patience, node.quiet)
  })
  return Layer.merge(idle.pipe(Layer.provideMerge(signal), Layer.provide(server)), Metrics.layer(listening.metricsPort))
}
