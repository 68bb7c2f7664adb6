import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Metric } from "effect"
import { HttpRouter } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import * as NodeServer from "./NodeServer.ts"
import { secured } from "./SecurityHeaders.ts"

const residentBytes = Metric.gauge("process_resident_memory_bytes", { description: "Memory of this process" })
const uptimeSeconds = Metric.gauge("process_uptime_seconds", { description: "Age of this process" })

const sample = Effect.suspend(() =>
  Effect.all([Metric.update(residentBytes, process.memoryUsage.rss()), Metric.update(uptimeSeconds, process.uptime())])
)

const sampling = Layer.effectDiscard(
  sample.pipe(Effect.andThen(Effect.sleep("5 seconds")), Effect.forever, Effect.forkScoped)
)

/** Milliseconds that a scrape which is under way may take when the service stops. */
const graceMillis = 1000

/**
 * `GET /metrics` for Prometheus on a port of its own, so that it is never reachable where the API is. A service works
 * without it: when the port is taken, as by a second service on one machine, it logs a warning and continues.
 */
export const layer = (place: { readonly port: number; readonly host?: string }) => {
  const node = NodeServer.make()
  const server = HttpRouter.serve(PrometheusMetrics.layerHttp({ path: "/metrics" }), {
    disableLogger: true,
    disableListenLog: true,
    middleware: secured
  }).pipe(Layer.provide(NodeHttpServer.layer(() => node.server, place)), Layer.provide(Layer.fresh(HttpRouter.layer)))
  return Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => node.drain(graceMillis)))).pipe(
    Layer.provide(server),
    Layer.catch((error) =>
      Layer.effectDiscard(Effect.logWarning(`No metrics on port ${place.port} (METRICS_PORT): ${String(error.cause)}`))
    ),
    Layer.merge(sampling)
  )
}
