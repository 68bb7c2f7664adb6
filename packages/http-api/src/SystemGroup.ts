import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"

/** The process cannot do its work: which of its dependencies fail, and how. */
export class NotReady extends Schema.TaggedError<NotReady>()(
  "NotReady",
  { failing: Schema.Array(Schema.Struct({ dependency: Schema.String, reason: Schema.String })) },
  { httpApiStatus: 503 }
) {}

/** What every service answers without a key. */
export class SystemGroup extends HttpApiGroup.make("system", { topLevel: true }).add(
  HttpApiEndpoint.get("healthz", "/healthz", { success: Schema.Struct({ status: Schema.Literal("ok") }) }),
  HttpApiEndpoint.get("readyz", "/readyz", {
    success: Schema.Struct({ status: Schema.Literal("ready") }),
    error: NotReady
  })
) {}
