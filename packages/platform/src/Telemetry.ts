import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, Layer, Logger, Option, References } from "effect"
import { Otlp } from "effect/observability"
import { telemetrySettings } from "./ServiceSettings.ts"
import { loadSettings } from "./Settings.ts"

/** Of the whole system: its packages are released together. */
export const version = "0.1.0"

/** Wrong settings are reported with all the others of a service; until then it logs as if they were not set. */
const settings = loadSettings(telemetrySettings).pipe(
  Effect.orElseSucceed(() => ({ logLevel: "Info" as const, logFormat: Option.none(), otlpEndpoint: Option.none() }))
)

/** Logs to the console; traces, logs and metrics by OTLP once `OTEL_EXPORTER_OTLP_ENDPOINT` is set. */
export const layer = (serviceName: string) =>
  Layer.unwrap(
    Effect.map(settings, ({ logLevel, logFormat, otlpEndpoint }) => {
      const format = Option.getOrElse(logFormat, () => (process.stdout.isTTY ? "pretty" : "json"))
      const logger = format === "json" ? Logger.consoleJson : Logger.consolePretty()
      const logging = Layer.merge(
        Logger.layer([logger, Logger.tracerLogger]),
        Layer.succeed(References.MinimumLogLevel, logLevel)
      )
      return Option.match(otlpEndpoint, {
        onNone: () => logging,
        onSome: (baseUrl) =>
          Layer.merge(
            logging,
            Otlp.layerJson({ baseUrl, resource: { serviceName, serviceVersion: version } }).pipe(
              Layer.provide(NodeHttpClient.layerUndici)
            )
          )
      })
    })
  )
