import { Context, Schema } from "effect"
import { HttpApi, OpenApi } from "effect/http-api"

/** What the three APIs have in common: every problem of a request is named at once, unknown fields are refused. */
export const apiDefaults = (title: string, description: string) =>
  Context.make(HttpApi.ParseOptions, { errors: "all", onExcessProperty: "error" }).pipe(
    Context.add(HttpApi.HeadersParseOptions, {}),
    Context.merge(OpenApi.annotations({ title, description, version: "1.0.0" }))
  )

/** What `/docs` and `openapi.json` say of an operation: a title, and what it does, asks and answers. */
export const operation = (summary: string, description: string) => OpenApi.annotations({ summary, description })

/** A whole number in a query string, both bounds included. It is described where it is text, as callers send it. */
export const wholeNumber = (minimum: number, maximum: number, description: string) =>
  Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum })).pipe(
    Schema.annotateEncoded({ description })
  )
