import { described } from "@medipim/domain/Described"
import { Schema } from "effect"
import { HttpApiMiddleware } from "effect/http-api"

/** One field that is wrong. */
export const Issue = Schema.Struct({
  path: described(Schema.String, "Where the field is, its keys joined by dots."),
  message: described(Schema.String, "What was expected there.")
})

/** The request does not fit its schema; `issues` names every field that is wrong, unknown ones too. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()(
  "InvalidRequest",
  {
    message: described(Schema.String, "All issues in one sentence."),
    issues: described(Schema.Array(Issue), "Every field that is wrong, unknown ones too.")
  },
  { httpApiStatus: 400 }
) {}

/** Turns schema errors of requests into `InvalidRequest`. */
export class RequestErrors extends HttpApiMiddleware.Service<RequestErrors>()("http-api/RequestErrors", {
  error: InvalidRequest
}) {}
