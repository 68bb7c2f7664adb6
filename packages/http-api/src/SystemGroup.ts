import { described } from "@medipim/domain/Described"
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { operation } from "./ApiDefaults.ts"

/** The process cannot do its work: which of its dependencies fail, and how. */
export class NotReady extends Schema.TaggedError<NotReady>()(
  "NotReady",
  {
    failing: described(
      Schema.Array(
        Schema.Struct({
          dependency: described(Schema.String, "The database, the snapshot store or another service."),
          reason: described(Schema.String, "The cause. Callers without the admin key see its kind only.")
        })
      ),
      "The dependencies that fail."
    )
  },
  { httpApiStatus: 503 }
) {}

/** What every service answers without a key. */
export class SystemGroup extends HttpApiGroup.make("system", { topLevel: true })
  .add(
    HttpApiEndpoint.get("healthz", "/healthz", {
      success: Schema.Struct({ status: described(Schema.Literal("ok"), "Always ok.") })
    }).annotateMerge(
      operation("Liveness", "Answers while the process runs. Needs no key, and asks nothing of anything else.")
    ),
    HttpApiEndpoint.get("readyz", "/readyz", {
      success: Schema.Struct({ status: described(Schema.Literal("ready"), "Always ready.") }),
      error: NotReady
    }).annotateMerge(
      operation(
        "Readiness",
        "Checks what a sync needs: tables, columns and rights in the database, the snapshot store, the other services. 503 " +
          "names what fails. Needs no key; with the admin key the causes are given in full."
      )
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "Health of the process, without a key." })) {}
