import { described } from "@medipim/domain/Described"
import { RunId, SnapshotId } from "@medipim/domain/Ids"
import { Count, chunkOutcomes, noChunkOutcomes } from "@medipim/domain/Outcomes"
import { PublishCounts, PublishRefused } from "@medipim/domain/PublishRules"
import { Wait } from "@medipim/domain/Run"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults, operation, wholeNumber } from "./ApiDefaults.ts"
import { Busy, Failed, Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** Text that is looked for in the database, which holds no NUL. */
const searchText = (description: string) =>
  described(Schema.String, description).check(
    Schema.makeFilter((text) => !text.includes("\0"), { expected: "text without NUL" })
  )

/** `POST /run`: the chunk to stage, records `[offset, offset + limit)` of a snapshot. */
export const StageRequest = Schema.Struct({
  runId: described(RunId, "The run to stage for; it must be running."),
  snapshotId: described(SnapshotId, "The snapshot to read."),
  offset: described(Count, "First record of the chunk, counted from 0."),
  limit: described(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 50_000 })), "Records in the chunk.")
})
export type StageRequest = typeof StageRequest.Type

/** What the records of a chunk turned out to be; each record is counted once. */
export const ChunkCounts = Schema.Struct({
  records: described(Count, "Records of the chunk that were staged."),
  ...chunkOutcomes
})
export type ChunkCounts = typeof ChunkCounts.Type
/** The counts of a chunk that has just begun. */
export const nothingYet: ChunkCounts = { records: 0, ...noChunkOutcomes }

const Chunk = {
  runId: described(RunId, "The run that the chunk is staged for."),
  offset: described(Count, "First record of the chunk."),
  counts: described(ChunkCounts, "What the records turned out to be, so far.")
} as const

/** Events of a chunk: progress at least every 10 s, then exactly one `Completed` or `Failed`. */
export const StageEvent = Schema.Union([
  Schema.TaggedStruct("Progress", Chunk),
  Heartbeat,
  Schema.TaggedStruct("Completed", {
    ...Chunk,
    nextOffset: described(Count, "First record of the next chunk."),
    hasMore: described(Schema.Boolean, "Whether the snapshot has records from there on.")
  }),
  Failed
])
export type StageEvent = typeof StageEvent.Type

/** `POST /publish`: the run to publish, with the range that it staged. */
export const PublishRequest = Schema.Struct({
  runId: described(RunId, "The run to publish; all chunks of its range must be staged."),
  snapshotId: described(SnapshotId, "The snapshot that it staged."),
  offset: Schema.optionalKey(described(Count, "First record of the range; default 0.")),
  limit: Schema.optionalKey(
    described(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)), "Records in the range; default all from offset on.")
  ),
  force: Schema.optionalKey(
    described(
      Schema.Boolean,
      "Publish despite the brakes on removals, rejected records, unknown shapes and lost values."
    )
  ),
  dryRun: Schema.optionalKey(described(Schema.Boolean, "Compute the counts and the brakes without writing."))
})
export type PublishRequest = typeof PublishRequest.Type

/** What a publish did, or in a dry run would do. */
export const PublishResult = Schema.Struct({
  runId: described(RunId, "The run that was published."),
  published: described(Schema.Boolean, "False in a dry run: no product was written."),
  counts: described(PublishCounts, "What the publish did."),
  warnings: described(Schema.Array(Schema.String), "What a person should know, for example why no product was removed.")
})
export type PublishResult = typeof PublishResult.Type

/** What the maintainer is doing now. */
export const MaintainerStatus = Schema.Struct({
  isRunning: described(Schema.Boolean, "Whether it stages or publishes."),
  chunks: described(Schema.Array(Schema.Struct(Chunk)), "The chunks that are being staged."),
  publishing: described(Schema.NullOr(RunId), "The run that is being published; null without one."),
  waitingFor: Schema.optionalKey(described(Schema.Array(Wait), "Dependencies that it is waiting for.")),
  uptimeSeconds: described(Schema.Int, "Seconds since the process started.")
})

/** A record that was rejected: where it is, why, and its text. */
export const RejectedRecord = Schema.Struct({
  runId: described(RunId, "The run that rejected it."),
  snapshotId: described(SnapshotId, "The snapshot that it belongs to."),
  part: described(Schema.String, "The object in the store in which its line begins."),
  lineIndex: described(Count, "Position of the line in that part, counted from 0."),
  record: described(Count, "Position of the record in the snapshot, counted from 0."),
  productId: described(Schema.NullOr(Schema.String), "The product, if the line gives its id."),
  reason: described(Schema.String, "Why it was rejected."),
  raw: described(
    Schema.String,
    "The text of the line, cut at 64 KB. Empty when the database does not keep it; then the snapshot alone has it."
  ),
  bytes: Schema.optionalKey(described(Count, "Bytes of the whole line.")),
  rejectedAt: described(Schema.String, "When it was rejected, ISO 8601 in UTC."),
  replayedBy: described(Schema.NullOr(RunId), "The replay that published it; null until one did.")
})

/** `POST /rejected/replay`: which lines to decode again; all that can be, when nothing is said. */
export const ReplayRequest = Schema.Struct({
  runId: Schema.optionalKey(described(RunId, "only records that this run rejected")),
  reason: Schema.optionalKey(searchText("only records with this text in their reason")),
  dryRun: Schema.optionalKey(described(Schema.Boolean, "compute the changes without writing them"))
})
export type ReplayRequest = typeof ReplayRequest.Type

/** What a replay did, or in a dry run would do. */
export const ReplayResult = Schema.Struct({
  runId: described(Schema.NullOr(RunId), "The run that records it; null when nothing was written."),
  examined: described(Count, "Rejected records of the published snapshot that were decoded again."),
  replayed: described(Count, "Those that pass now."),
  stillRejected: described(Count, "Those that still do not."),
  superseded: described(Count, "Rejected records of other snapshots: they are left as they are."),
  counts: described(PublishCounts, "Changes of products, counted as a publish counts them."),
  warnings: Schema.optionalKey(
    described(Schema.Array(Schema.String), "What a person should know, for example a field in an unknown shape.")
  )
})
export type ReplayResult = typeof ReplayResult.Type

/** The routes of the maintainer; all need the admin key. */
export class MaintainerGroup extends HttpApiGroup.make("maintainer", { topLevel: true })
  .add(
    HttpApiEndpoint.get("status", "/status", { success: MaintainerStatus }).annotateMerge(
      operation("Status", "What is being staged or published, and what it is waiting for.")
    ),
    HttpApiEndpoint.post("run", "/run", {
      payload: StageRequest,
      success: HttpApiSchema.StreamNdjson({ schema: StageEvent }),
      error: Busy
    }).annotateMerge(
      operation(
        "Stage a chunk",
        "Compares the records of the chunk with the catalogue and stages the differences. Repeating it is safe. NDJSON: " +
          "Progress or Heartbeat at least every 10 s, then exactly one Completed or Failed."
      )
    ),
    HttpApiEndpoint.post("publish", "/publish", {
      payload: PublishRequest,
      success: PublishResult,
      error: [PublishRefused, Unavailable]
    }).annotateMerge(
      operation(
        "Publish a run",
        "Moves what the run staged into the catalogue, in one transaction. 422 says why nothing was published. Repeating " +
          "the call of a published run answers what the first one did."
      )
    ),
    HttpApiEndpoint.get("rejected", "/rejected", {
      query: {
        runId: Schema.optionalKey(described(RunId, "Only records that this run rejected.")),
        reason: Schema.optionalKey(searchText("Only records with this text in their reason, in any case.")),
        page: Schema.optionalKey(wholeNumber(0, 1_000_000, "Page of the list, counted from 0.")),
        size: Schema.optionalKey(wholeNumber(1, 500, "Records on a page, 1 to 500; default 50."))
      },
      success: Schema.Struct({
        total: described(Count, "Rejected records that match."),
        records: described(Schema.Array(RejectedRecord), "Those on this page.")
      }),
      error: Unavailable
    }).annotateMerge(
      operation("List rejected records", "Records that could not be decoded or stored, with their reason and position.")
    ),
    HttpApiEndpoint.post("replay", "/rejected/replay", {
      payload: [ReplayRequest, Schema.Undefined],
      success: ReplayResult,
      error: [Busy, PublishRefused, Unavailable]
    }).annotateMerge(
      operation(
        "Replay rejected records",
        "Decodes rejected records of the published snapshot again and publishes those that pass, in one transaction. " +
          "Nothing is removed, and an older state overwrites nothing. 409 while a sync runs."
      )
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "Staging and publishing of snapshots, and rejected records." }))
  .middleware(AdminKey) {}

/** Stages and publishes snapshots. */
export class MaintainerApi extends HttpApi.make("medipim-maintainer")
  .add(SystemGroup)
  .add(MaintainerGroup)
  .middleware(RequestErrors)
  .annotateMerge(
    apiDefaults(
      "MediPim AU Sync: maintainer",
      "Turns snapshots into rows of public.products. The orchestrator calls it. Send the admin key in X-ADMIN-KEY."
    )
  ) {}
