import { readFileSync } from "node:fs"
import { parseEnv } from "node:util"
import { headerProblem, operatorVariables, problemLine } from "@medipim/domain/OperatorVariables"
import { MaintainerClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Config, ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { HttpClient } from "effect/http"
import { exitCodes, Outcome, type Service } from "./Outcome.ts"

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

/** The environment, then what a running `npm start` has written about itself, then `.env`. */
export const settings = ConfigProvider.layer(
  ConfigProvider.fromEnv().pipe((environment) =>
    files.reduce((before, file) => ConfigProvider.orElse(before, ConfigProvider.fromUnknown(read(file))), environment)
  )
)

/** The length is not checked here: the services reject a wrong key, and that has an exit code of its own. */
const keyProblem = (key: string) => (key === "" ? "is missing" : headerProblem(key))

const adminKey = Config.Redacted("ADMIN_KEY").pipe(
  Config.withDefault(Redacted.make("")),
  Effect.tap((key) => {
    const problem = keyProblem(Redacted.value(key))
    if (problem === undefined) return Effect.void
    const line = problemLine({ variable: "ADMIN_KEY", ...operatorVariables.ADMIN_KEY }, problem)
    return Effect.fail(
      new Outcome({ code: exitCodes.usage, message: `${line}. Set it in the environment or in .env.` })
    )
  })
)

const urlOf = (variable: string, otherwise: string) =>
  Config.NonEmptyString(variable).pipe(Config.withDefault(otherwise))

/** An address as messages may show it. */
const shownAddress = (variable: string, address: string): string => {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return `what ${variable} says, no http address`
  const { protocol, host, pathname } = new URL(address)
  return `${protocol}//${host}${pathname === "/" ? "" : pathname}`
}

/** The services that the commands ask, for messages. */
export class Services extends Context.Service<
  Services,
  { readonly orchestrator: Service; readonly maintainer: Service }
>()("cli/Services") {}

/** The typed clients of the services, built from the settings. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const key = yield* adminKey
    const orchestrator = yield* urlOf("ORCHESTRATOR_URL", "http://localhost:3003")
    const maintainer = yield* urlOf("MAINTAINER_URL", "http://localhost:3002")
    let answered = false
    const http = Effect.map(
      HttpClient.HttpClient,
      HttpClient.tap(() => Effect.sync(() => (answered = true)))
    )
    const service = (name: string, variable: string, url: string): Service => ({
      name,
      variable,
      address: shownAddress(variable, url),
      hasAnswered: () => answered
    })
    return Layer.mergeAll(
      OrchestratorClient.layer({ baseUrl: orchestrator, adminKey: key }),
      MaintainerClient.layer({ baseUrl: maintainer, adminKey: key }),
      Layer.succeed(Services, {
        orchestrator: service("orchestrator", "ORCHESTRATOR_URL", orchestrator),
        maintainer: service("maintainer", "MAINTAINER_URL", maintainer)
      })
    ).pipe(Layer.provide(Layer.effect(HttpClient.HttpClient, http)))
  })
)
