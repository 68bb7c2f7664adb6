import { Schema } from "effect"

/**
 * The last event of a job that did not end well. `code` is the tag of the error; `retryable` says whether the same call
 * can succeed later.
 */
export const Failed = Schema.TaggedStruct("Failed", {
  code: Schema.String,
  message: Schema.String,
  retryable: Schema.Boolean
})
export type Failed = typeof Failed.Type

/** Says that a job is alive while it has nothing to tell, so that no proxy closes the connection. */
export const Heartbeat = Schema.TaggedStruct("Heartbeat", {})

/** The service does one job at a time, and that job is another one. */
export class Busy extends Schema.TaggedError<Busy>()(
  "Busy",
  { message: Schema.String, job: Schema.String },
  { httpApiStatus: 409 }
) {}

/**
 * The store or the database failed; unless `retryable` is false, the same call may succeed later. `code` is the tag of the
 * error behind it.
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()(
  "Unavailable",
  { message: Schema.String, retryable: Schema.optionalKey(Schema.Boolean), code: Schema.optionalKey(Schema.String) },
  { httpApiStatus: 503 }
) {}
