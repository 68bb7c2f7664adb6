import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { ByteSize, Duration, Effect, Layer, Option, type Redacted } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServerResponse } from "effect/http"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup, HttpApiScalar, OpenApi } from "effect/http-api"
import { Draining } from "../process/Draining.ts"
import * as Idle from "../process/Idle.ts"
import * as AdminKeyGuard from "./AdminKeyGuard.ts"
import { AdminKeys } from "./AdminKeys.ts"
import * as Metrics from "./Metrics.ts"
import * as NodeServer from "./NodeServer.ts"
import * as RequestErrorsGuard from "./RequestErrorsGuard.ts"
import { secured } from "./SecurityHeaders.ts"
import { staticAnswer } from "./StaticAnswer.ts"
import { strict } from "./StrictRequests.ts"

/** No request of ours is larger than a few hundred bytes. */
const largestBody = ByteSize.kibibytes(64)
/** How long running requests may continue after SIGTERM. */
const drain = Duration.seconds(20)
/** After that they are interrupted; what is still open a second later is cut off. */
const graceMillis = Duration.toMillis(drain) + 1000

interface ServerOptions {
  /** Of this machine, for the API and the metrics; all of them when it is none. */
  readonly listenAddress?: Option.Option<string>
  readonly port: number
  readonly metricsPort: number
  readonly adminKey: Redacted.Redacted
  readonly previousAdminKey: Option.Option<Redacted.Redacted>
  readonly flyAppName: Option.Option<string>
  /** Without a request for so long, the process ends. */
  readonly idleShutdown?: Option.Option<Duration.Duration>
}

/** The middleware of the routes: the handlers of an API are built with it, and its server answers with it. */
export const middlewareLayer = (keys: Pick<ServerOptions, "adminKey" | "previousAdminKey" | "flyAppName">) =>
  Layer.merge(AdminKeyGuard.layer(keys), RequestErrorsGuard.layer).pipe(Layer.provideMerge(AdminKeys.layer(keys)))

/** The documents of an API: `/docs` to read, and `/openapi.json`. Neither changes while the process lives. */
const documents = <Id extends string, Groups extends HttpApiGroup.Constraint>(api: HttpApi.HttpApi<Id, Groups>) => {
  const router = Effect.map(
    HttpRouter.HttpRouter,
    (router): HttpRouter.HttpRouter => ({
      ...router,
      add: (method, path, handler, options) =>
        router.add(method, path, Effect.isEffect(handler) ? staticAnswer(handler) : handler, options)
    })
  )
  const openapi = HttpRouter.add(
    "GET",
    "/openapi.json",
    Effect.sync(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(api)))
  )
  // The fonts of Scalar would come from its own servers, which our policy forbids.
  const docs = HttpApiScalar.layer(api, { path: "/docs", scalar: { withDefaultFonts: false } })
  return Layer.merge(openapi, docs).pipe(Layer.provide(Layer.effect(HttpRouter.HttpRouter, router)))
}

/**
 * Serves an API with its documents (`/docs`, `/openapi.json`), and its metrics on a second port. On SIGTERM it
 * stops listening at once and lets running requests finish.
 */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  options: ServerOptions,
  limits?: NodeServer.Limits
) => {
  const node = NodeServer.make(limits, AdminKeyGuard.isAdmitted)
  const place = (port: number) =>
    Option.match(options.listenAddress ?? Option.none(), {
      onNone: () => ({ port }),
      onSome: (host) => ({ port, host })
    })
  const routes = HttpApiBuilder.layer(api).pipe(Layer.provide(middlewareLayer(options)))
  const app = Layer.merge(routes, documents(api))
  const server = HttpRouter.serve(app, {
    disableLogger: true,
    disableListenLog: true,
    middleware: (app) => secured(strict(app))
  }).pipe(
    Layer.provide(
      // Without a host Node takes all addresses: IPv6 and IPv4, or IPv4 alone where the kernel has no IPv6.
      NodeHttpServer.layer(() => node.server, { ...place(options.port), gracefulShutdownTimeout: drain })
    ),
    Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, largestBody))
  )
  // Built after the server, so its end comes before the server waits for its answers.
  const signal = Layer.effectDiscard(
    Effect.flatMap(Draining, ({ begin }) =>
      Effect.addFinalizer(() =>
        Effect.andThen(
          begin,
          Effect.sync(() => node.drain(graceMillis))
        )
      )
    )
  )
  const idle = Option.match(options.idleShutdown ?? Option.none(), {
    onNone: () => Layer.empty,
    onSome: (idleFor) => Idle.layer(idleFor, node.quiet)
  })
  return Layer.merge(
    idle.pipe(Layer.provideMerge(signal), Layer.provide(server)),
    Metrics.layer(place(options.metricsPort))
  )
}
