import { SnapshotId } from "@medipim/domain/Ids"
import { Wait } from "@medipim/domain/Run"
import { SnapshotSummary } from "@medipim/domain/Snapshot"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults } from "./ApiDefaults.ts"
import { Busy, Failed, Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** `POST /run`: without `snapshotId` a new one is made; with one that is complete already, nothing is fetched. */
export const FetchRequest = Schema.Struct({ snapshotId: Schema.optionalKey(SnapshotId) })
export type FetchRequest = typeof FetchRequest.Type

/** How far a download is. Bytes as the source sent them. */
export const FetchProgress = Schema.TaggedStruct("Progress", {
  snapshotId: SnapshotId,
  records: Schema.Int,
  total: Schema.Int,
  bytes: Schema.Int,
  parts: Schema.Int
})

/** Events of a download: progress at least every 10 s, then exactly one `Completed` or `Failed`. */
export const FetchEvent = Schema.Union([
  FetchProgress,
  Heartbeat,
  Schema.TaggedStruct("Completed", { snapshot: SnapshotSummary }),
  Failed
])
export type FetchEvent = typeof FetchEvent.Type

/** What the fetcher is doing now. */
export const FetcherStatus = Schema.Struct({
  isRunning: Schema.Boolean,
  progress: Schema.NullOr(FetchProgress),
  /** What it cannot go on without just now: its store, its database, its source, a lock. */
  waitingFor: Schema.optionalKey(Schema.Array(Wait)),
  uptimeSeconds: Schema.Int
})

/** `POST /snapshots/prune`: which snapshots stay. */
export const PruneRequest = Schema.Struct({ keep: Schema.Array(SnapshotId) })

export class FetcherGroup extends HttpApiGroup.make("fetcher", { topLevel: true })
  .add(
    HttpApiEndpoint.get("status", "/status", { success: FetcherStatus }),
    HttpApiEndpoint.post("run", "/run", {
      payload: [FetchRequest, Schema.Undefined],
      success: HttpApiSchema.StreamNdjson({ schema: FetchEvent }),
      error: Busy
    }),
    HttpApiEndpoint.get("snapshots", "/snapshots", {
      success: Schema.Struct({ snapshots: Schema.Array(SnapshotSummary) }),
      error: Unavailable
    }),
    HttpApiEndpoint.post("prune", "/snapshots/prune", {
      payload: PruneRequest,
      success: Schema.Struct({ removed: Schema.Array(SnapshotId) }),
      error: Unavailable
    })
  )
  .middleware(AdminKey) {}

export class FetcherApi extends HttpApi.make("medipim-fetcher")
  .add(SystemGroup)
  .add(FetcherGroup)
  .middleware(RequestErrors)
  .annotateMerge(apiDefaults("MediPim AU Sync: fetcher")) {}
