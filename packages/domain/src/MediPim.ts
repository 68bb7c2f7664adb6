import { Context, type Effect, type Option, Schema, type Stream } from "effect"
import type { SourceRequest } from "./Snapshot.ts"
import type { StreamBroken } from "./StreamCheck.ts"

/** MediPim refused, or could not be reached in spite of retries. */
export class MediPimError extends Schema.TaggedError<MediPimError>()("MediPimError", {
  /** HTTP status, 0 when there was no answer. */
  status: Schema.Int,
  /** MediPim's own error code, when it gave one. */
  code: Schema.String,
  detail: Schema.String,
  retryable: Schema.Boolean
}) {
  override get message(): string {
    const answer = this.status === 0 ? "did not answer" : `answered ${this.status} ${this.code}`.trim()
    return `MediPim ${answer}: ${this.detail}`
  }
}

/** The source of the catalogue. */
export class MediPim extends Context.Service<
  MediPim,
  {
    /**
     * Opens the product stream. `None` is the documented empty answer (HTTP 204). The bytes fail with `StreamBroken`
     * when the connection breaks or nothing comes for `REQUEST_TIMEOUT`; they never end in silence.
     */
    readonly open: (
      request: SourceRequest
    ) => Effect.Effect<Option.Option<Stream.Stream<Uint8Array, StreamBroken>>, MediPimError>
  }
>()("domain/MediPim") {}

/** Every documented status, so that a product which goes inactive or is replaced is seen to do so. */
export const allStatuses: SourceRequest["filter"] = { status: ["active", "inactive", "replaced"] }
/** Oldest first: the order in which a broken download can resume (docs/reference/medipim-api.md). */
export const byCreation: SourceRequest["sorting"] = { createdAt: "ASC" }

/** The rest of an answer that broke: everything from the second in which its last product was created. */
export const sinceCreation = ({ filter, sorting }: SourceRequest, createdAt: number): SourceRequest => ({
  filter: { and: [filter, { createdAt: { from: createdAt } }] },
  sorting
})
