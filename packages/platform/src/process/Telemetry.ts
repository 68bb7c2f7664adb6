import { inspect } from "node:util"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { printableEntry, printableJson } from "@medipim/domain/Printable"
import { Console, Effect, identity, Layer, Logger, Option, References } from "effect"
import { Otlp } from "effect/observability"
import { telemetrySettings } from "./ServiceSettings.ts"
import { loadSettings } from "./Settings.ts"

/** Of the whole system: its packages are released together. */
export const version = "0.1.0"

/** Wrong settings are reported with all the others of a service; until then it logs as if they were not set. */
const settings = loadSettings(telemetrySettings).pipe(
  Effect.orElseSucceed(() => ({ logLevel: "Info" as const, logFormat: Option.none(), otlpEndpoint: Option.none() }))
)

/** What is logged may come from outside: it must not move the cursor of a terminal, or look like an entry of its own. */
const json = Logger.withConsoleLog(Logger.map(Logger.formatJson, printableJson))
const shown = (said: unknown): string =>
  printableEntry(typeof said === "string" ? said : inspect(said, { colors: process.stdout.isTTY }))
const forTerminals = (out: Console.Console): Console.Console =>
  Object.assign(Object.create(out) as Console.Console, {
    log: (...said: ReadonlyArray<unknown>) => out.log(said.map(shown).join(" "))
  })

/** Logs to the console; traces, logs and metrics by OTLP once `OTEL_EXPORTER_OTLP_ENDPOINT` is set. */
export const layer = (serviceName: string) =>
  Layer.unwrap(
    Effect.map(settings, ({ logLevel, logFormat, otlpEndpoint }) => {
      const format = Option.getOrElse(logFormat, () => (process.stdout.isTTY ? "pretty" : "json"))
      const logging = Layer.mergeAll(
        Logger.layer([format === "json" ? json : Logger.consolePretty(), Logger.tracerLogger]),
        Layer.effect(Console.Console, Effect.map(Console.Console, format === "json" ? identity : forTerminals)),
        Layer.succeed(References.MinimumLogLevel, logLevel)
      )
      return Option.match(otlpEndpoint, {
        onNone: () => logging,
        onSome: (baseUrl) =>
          Otlp.layerJson({ baseUrl, resource: { serviceName, serviceVersion: version } }).pipe(
            Layer.provide(NodeHttpClient.layerUndici),
            // It adds a logger to those that it finds.
            Layer.provideMerge(logging)
          )
      })
    })
  )
