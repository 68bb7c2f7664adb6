import "@medipim/platform/process/Node24"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Layer, Option } from "effect"
import { CliError, Command } from "effect/cli"
import { medipim } from "./Commands.ts"
import { settings } from "./Connection.ts"
import { exitCodes, Outcome } from "./Outcome.ts"
import { printError } from "./Print.ts"
import { swallowedOptions } from "./SwallowedOptions.ts"

const codeOf = (cause: Cause.Cause<unknown>): number => {
  if (Cause.hasInterruptsOnly(cause)) return exitCodes.interrupted
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error instanceof Outcome) return error.code
  return CliError.isCliError(error) ? exitCodes.usage : exitCodes.failed
}

const logError = (error: unknown): Effect.Effect<void> =>
  error instanceof Outcome && error.message !== "" ? printError(error.message) : Effect.void

/** Before anything is read or asked: a lost `--dry-run` would be a real sync. */
const nothingLost = Effect.suspend(() => {
  const message = swallowedOptions(medipim, process.argv.slice(2), process.env)
  return message === undefined ? Effect.void : Effect.fail(new Outcome({ message, code: exitCodes.usage }))
})

NodeRuntime.runMain(
  nothingLost.pipe(
    Effect.andThen(Command.run(medipim, { version: "0.1.0" })),
    Effect.tapError(logError),
    Effect.provide(Layer.mergeAll(NodeServices.layer, NodeHttpClient.layerUndici, settings))
  ),
  {
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? exitCodes.succeeded : codeOf(exit.cause))
  }
)
