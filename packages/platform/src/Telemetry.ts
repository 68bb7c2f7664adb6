import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Config, Effect, Layer, Logger, Option, References } from "effect"
import { Otlp } from "effect/observability"

const format = Config.Literals(["json", "pretty"], "LOG_FORMAT").pipe(
  Config.withDefault(process.stdout.isTTY ? ("pretty" as const) : ("json" as const))
)

const logging = Layer.unwrap(
  Effect.gen(function* () {
    const logger = (yield* format) === "json" ? Logger.consoleJson : Logger.consolePretty()
    const level = yield* Config.LogLevel("LOG_LEVEL").pipe(Config.withDefault("Info" as const))
    return Layer.merge(Logger.layer([logger, Logger.tracerLogger]), Layer.succeed(References.MinimumLogLevel, level))
  })
)

const version = "0.1.0"

/** Logs to the console; traces, logs and metrics by OTLP once `OTEL_EXPORTER_OTLP_ENDPOINT` is set. */
export const layer = (serviceName: string) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const endpoint = yield* Config.option(Config.NonEmptyString("OTEL_EXPORTER_OTLP_ENDPOINT"))
      return Option.match(endpoint, {
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
