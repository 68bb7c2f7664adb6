import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Effect, Exit, Layer, Option, type Runtime } from "effect"
import * as Telemetry from "./Telemetry.ts"

interface StartError {
  readonly _tag: string
  readonly message: string
  readonly cause?: unknown
}

/** The messages of an error and of what caused it, each once: the last one is what a person can act on. */
const messagesOf = (error: unknown): ReadonlyArray<string> => {
  const messages = new Set<string>()
  let at: unknown = error
  for (let depth = 0; depth < 6 && typeof at === "object" && at !== null; depth++) {
    const { message, cause, reason } = at as { readonly message?: string; readonly cause?: unknown; reason?: unknown }
    if (typeof message === "string" && message !== "") messages.add(message)
    at = cause ?? (reason as { readonly cause?: unknown } | undefined)?.cause
  }
  return [...messages]
}

const reasonOf = (name: string, error: StartError): string =>
  (error.cause as NodeJS.ErrnoException | undefined)?.code === "EADDRINUSE"
    ? `another program holds its port. Stop it, or move ours with ${name.toUpperCase()}_PORT.`
    : messagesOf(error).join(" ")

/** Logs a startup error as one message; only a defect carries a stack trace. */
const report = (name: string, cause: Cause.Cause<StartError>): Effect.Effect<void> =>
  Cause.hasInterruptsOnly(cause)
    ? Effect.logInfo(`medipim ${name} stopped`)
    : Option.match(Cause.findErrorOption(cause), {
        onSome: (error) => Effect.logFatal(`medipim ${name} ended: ${reasonOf(name, error)}`),
        onNone: () => Effect.logFatal(`medipim ${name} stopped by a defect`, cause)
      })

/** Exits with 0 on SIGTERM and SIGINT. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)

/** Runs a program that ends by itself; exits with 1 when it fails. */
export const runOnce = <A, E extends StartError>(name: string, program: Effect.Effect<A, E>): void =>
  NodeRuntime.runMain(
    program.pipe(
      Effect.onExit((exit) => (Exit.isFailure(exit) ? report(name, exit.cause) : Effect.void)),
      Effect.provide(Telemetry.layer(`medipim-${name}`))
    ),
    { disableErrorReporting: true, teardown }
  )

/** Runs a service until SIGTERM or SIGINT; exits with 1 when it cannot start. */
export const run = <A, E extends StartError>(name: string, main: Layer.Layer<A, E>): void =>
  runOnce(
    name,
    main.pipe(
      Layer.tap(() => Effect.logInfo(`medipim ${name} is listening`)),
      Layer.launch
    )
  )
