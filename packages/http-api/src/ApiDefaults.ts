import { Context } from "effect"
import { HttpApi, OpenApi } from "effect/http-api"

/** What the three APIs have in common: every problem of a request is named at once, unknown fields are refused. */
export const apiDefaults = (title: string) =>
  Context.make(HttpApi.ParseOptions, { errors: "all", onExcessProperty: "error" }).pipe(
    Context.add(HttpApi.HeadersParseOptions, {}),
    Context.merge(OpenApi.annotations({ title, version: "1.0.0" }))
  )
