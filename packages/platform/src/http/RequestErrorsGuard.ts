import { InvalidRequest, RequestErrors } from "@medipim/http-api/InvalidRequest"
import { Effect, type Layer, SchemaIssue } from "effect"
import { HttpApiMiddleware } from "effect/http-api"

const standard = SchemaIssue.makeFormatterStandardSchemaV1()

const pathOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined): string =>
  (path ?? []).map((step) => String(typeof step === "object" ? step.key : step)).join(".")

/** Answers 400 with every field that is wrong. Errors in our own responses stay what they are: a bug, and a 500. */
export const layer: Layer.Layer<RequestErrors> = HttpApiMiddleware.layerSchemaErrorTransform(RequestErrors, (error) => {
  if (error.kind === "Body" || error.kind === "ResponseHeaders") return Effect.fail(error)
  const issues = standard(error.cause.issue).issues.map(({ path, message }) => ({ path: pathOf(path), message }))
  const list = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ")
  return Effect.fail(new InvalidRequest({ message: `Invalid request: ${list}`, issues }))
})
