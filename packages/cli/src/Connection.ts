import { readFileSync } from "node:fs"
import { parseEnv } from "node:util"
import { MaintainerClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Config, ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { exitCodes, Outcome } from "./Outcome.ts"

/** Files that may hold the settings, the first one first; the environment goes before both. */
const files = [".local/stack.env", ".env"]

/** What a file sets; an empty value sets nothing. A file that is not there is fine. */
const read = (file: string): Record<string, string | undefined> => {
  try {
    const entries = Object.entries(parseEnv(readFileSync(file, "utf8")))
    return Object.fromEntries(entries.filter(([, value]) => value !== ""))
  } catch {
    return {}
  }
}

/** The environment, then what the stack of `npm start` tells about itself while it runs, then `.env`. */
export const settings = ConfigProvider.layer(
  ConfigProvider.fromEnv().pipe((environment) =>
    files.reduce((before, file) => ConfigProvider.orElse(before, ConfigProvider.fromUnknown(read(file))), environment)
  )
)

const adminKey = Config.Redacted("ADMIN_KEY").pipe(
  Effect.filterOrFail((key) => Redacted.value(key) !== ""),
  Effect.mapError(
    () =>
      new Outcome({
        code: exitCodes.usage,
        message: "ADMIN_KEY is missing: the key that the services ask for. Put it into the environment or into .env."
      })
  )
)

const urlOf = (variable: string, otherwise: string) =>
  Config.NonEmptyString(variable).pipe(Config.withDefault(otherwise))

/** Where the orchestrator is, for messages. */
export class Addresses extends Context.Service<
  Addresses,
  { readonly orchestrator: string; readonly maintainer: string }
>()("cli/Addresses") {}

/** The typed clients of the services, built from the settings. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const key = yield* adminKey
    const orchestrator = yield* urlOf("ORCHESTRATOR_URL", "http://localhost:3003")
    const maintainer = yield* urlOf("MAINTAINER_URL", "http://localhost:3002")
    return Layer.mergeAll(
      OrchestratorClient.layer({ baseUrl: orchestrator, adminKey: key }),
      MaintainerClient.layer({ baseUrl: maintainer, adminKey: key }),
      Layer.succeed(Addresses, { orchestrator, maintainer })
    )
  })
)
