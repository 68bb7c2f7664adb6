import { RunId, SnapshotId } from "@medipim/domain/Ids"
import { PublishCounts, PublishRefused } from "@medipim/domain/PublishRules"
import { Wait } from "@medipim/domain/Run"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults } from "./ApiDefaults.ts"
import { Busy, Failed, Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** Text that is looked for in the database, which holds no NUL. */
const SearchText = Schema.String.check(
  Schema.makeFilter((text) => !text.includes("\0"), { expected: "text without NUL" })
)

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** `POST /run`: the chunk to stage, records `[offset, offset + limit)` of a snapshot. */
export const StageRequest = Schema.Struct({
  runId: RunId,
  snapshotId: SnapshotId,
  offset: Count,
  limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 50_000 }))
})
export type StageRequest = typeof StageRequest.Type

/** What the records of a chunk turned out to be; each record is counted once. */
export const ChunkCounts = Schema.Struct({
  records: Count,
  inserted: Count,
  updated: Count,
  restored: Count,
  unchanged: Count,
  stale: Count,
  rejected: Count
})
export type ChunkCounts = typeof ChunkCounts.Type
export const nothingYet: ChunkCounts = {
  records: 0,
  inserted: 0,
  updated: 0,
  restored: 0,
  unchanged: 0,
  stale: 0,
  rejected: 0
}

const Chunk = { runId: RunId, offset: Count, counts: ChunkCounts } as const

/** Events of a chunk: progress at least every 10 s, then exactly one `Completed` or `Failed`. */
export const StageEvent = Schema.Union([
  Schema.TaggedStruct("Progress", Chunk),
  Heartbeat,
  Schema.TaggedStruct("Completed", {
    ...Chunk,
    /** Where the next chunk begins, and whether the snapshot goes on there. */
    nextOffset: Count,
    hasMore: Schema.Boolean
  }),
  Failed
])
export type StageEvent = typeof StageEvent.Type

/** `POST /publish`: the range that the run staged; the whole snapshot unless `offset` or `limit` say otherwise. */
export const PublishRequest = Schema.Struct({
  runId: RunId,
  snapshotId: SnapshotId,
  offset: Schema.optionalKey(Count),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
  force: Schema.optionalKey(Schema.Boolean),
  dryRun: Schema.optionalKey(Schema.Boolean)
})
export type PublishRequest = typeof PublishRequest.Type

export const PublishResult = Schema.Struct({
  runId: RunId,
  /** False in a dry run: nothing was written. */
  published: Schema.Boolean,
  counts: PublishCounts,
  /** What a person should know, for example why no product was removed. */
  warnings: Schema.Array(Schema.String)
})
export type PublishResult = typeof PublishResult.Type

/** What the maintainer is doing now. */
export const MaintainerStatus = Schema.Struct({
  isRunning: Schema.Boolean,
  chunks: Schema.Array(Schema.Struct(Chunk)),
  publishing: Schema.NullOr(RunId),
  /** What it cannot go on without just now: its store, its database, its source, a lock. */
  waitingFor: Schema.optionalKey(Schema.Array(Wait)),
  uptimeSeconds: Schema.Int
})

/** A rejected line: where it stands, why it was rejected, and the line as text. */
export const RejectedRecord = Schema.Struct({
  runId: RunId,
  snapshotId: SnapshotId,
  part: Schema.String,
  /** Place of the line in its part and in the snapshot, both counted from 0. */
  lineIndex: Count,
  record: Count,
  productId: Schema.NullOr(Schema.String),
  reason: Schema.String,
  /** The beginning of the line; all of it unless it is longer than 64 KB. Empty where only the snapshot has it. */
  raw: Schema.String,
  /** Bytes of the whole line. */
  bytes: Schema.optionalKey(Count),
  rejectedAt: Schema.String,
  /** The replay that published the line after all. */
  replayedBy: Schema.NullOr(RunId)
})

/** `POST /rejected/replay`: which lines to decode again; all that can be, when nothing is said. */
export const ReplayRequest = Schema.Struct({
  runId: Schema.optionalKey(RunId).annotate({ description: "only lines that this run rejected" }),
  reason: Schema.optionalKey(SearchText).annotate({ description: "only lines with this text in their reason" }),
  dryRun: Schema.optionalKey(Schema.Boolean).annotate({ description: "work out the changes, write none" })
})
export type ReplayRequest = typeof ReplayRequest.Type

/** What a replay did, or in a dry run would do. Counts of lines, but for `counts`. */
export const ReplayResult = Schema.Struct({
  /** The run that is kept of it; null when nothing was written. */
  runId: Schema.NullOr(RunId),
  /** Lines of the published snapshot that were decoded again: those that pass now, and those that still do not. */
  examined: Count,
  replayed: Count,
  stillRejected: Count,
  /** Lines of other snapshots than the published one: they are left as they are. */
  superseded: Count,
  /** Changes of products, counted as a publish counts them. */
  counts: PublishCounts
})
export type ReplayResult = typeof ReplayResult.Type

export class MaintainerGroup extends HttpApiGroup.make("maintainer", { topLevel: true })
  .add(
    HttpApiEndpoint.get("status", "/status", { success: MaintainerStatus }),
    HttpApiEndpoint.post("run", "/run", {
      payload: StageRequest,
      success: HttpApiSchema.StreamNdjson({ schema: StageEvent }),
      error: Busy
    }),
    HttpApiEndpoint.post("publish", "/publish", {
      payload: PublishRequest,
      success: PublishResult,
      error: [PublishRefused, Unavailable]
    }),
    HttpApiEndpoint.get("rejected", "/rejected", {
      query: {
        runId: Schema.optionalKey(RunId),
        reason: Schema.optionalKey(SearchText),
        page: Schema.optionalKey(
          Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
        ),
        size: Schema.optionalKey(
          Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 500 }))
        )
      },
      success: Schema.Struct({ total: Count, records: Schema.Array(RejectedRecord) }),
      error: Unavailable
    }),
    HttpApiEndpoint.post("replay", "/rejected/replay", {
      payload: [ReplayRequest, Schema.Undefined],
      success: ReplayResult,
      error: [Busy, PublishRefused, Unavailable]
    })
  )
  .middleware(AdminKey) {}

export class MaintainerApi extends HttpApi.make("medipim-maintainer")
  .add(SystemGroup)
  .add(MaintainerGroup)
  .middleware(RequestErrors)
  .annotateMerge(apiDefaults("MediPim AU Sync: maintainer")) {}
