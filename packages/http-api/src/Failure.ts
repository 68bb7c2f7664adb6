import { described } from "@medipim/domain/Described"
import { Schema } from "effect"

/** The last event of a job that failed. */
export const Failed = Schema.TaggedStruct("Failed", {
  code: described(Schema.String, "The tag of the error."),
  message: described(Schema.String, "What happened and what to do."),
  retryable: described(Schema.Boolean, "Whether the same call can succeed later.")
})
export type Failed = typeof Failed.Type

/** Keeps the connection of a silent job alive, so that no proxy closes it. */
export const Heartbeat = Schema.TaggedStruct("Heartbeat", {})

/** The service is already doing work that this request conflicts with. */
export class Busy extends Schema.TaggedError<Busy>()(
  "Busy",
  {
    message: described(Schema.String, "What the service is doing."),
    job: described(Schema.String, "The run, chunk (run id and offset) or snapshot that it is working on; may be empty.")
  },
  { httpApiStatus: 409 }
) {}

/** The store or the database failed. */
export class Unavailable extends Schema.TaggedError<Unavailable>()(
  "Unavailable",
  {
    message: described(Schema.String, "What failed, and why."),
    retryable: Schema.optionalKey(described(Schema.Boolean, "False when the same call cannot succeed later.")),
    code: Schema.optionalKey(described(Schema.String, "The tag of the error behind it."))
  },
  { httpApiStatus: 503 }
) {}
