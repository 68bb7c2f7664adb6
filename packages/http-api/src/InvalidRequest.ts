import { Schema } from "effect"
import { HttpApiMiddleware } from "effect/http-api"

/** One field that is wrong: where it stands and what was expected there. */
export const Issue = Schema.Struct({ path: Schema.String, message: Schema.String })

/** The request does not fit its schema; `issues` names every field that is wrong, unknown ones too. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()(
  "InvalidRequest",
  { message: Schema.String, issues: Schema.Array(Issue) },
  { httpApiStatus: 400 }
) {}

/** Turns schema errors of requests into `InvalidRequest`. */
export class RequestErrors extends HttpApiMiddleware.Service<RequestErrors>()("http-api/RequestErrors", {
  error: InvalidRequest
}) {}
