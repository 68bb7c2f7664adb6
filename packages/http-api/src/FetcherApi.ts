import { described } from "@medipim/domain/Described"
import { SnapshotId } from "@medipim/domain/Ids"
import { Wait } from "@medipim/domain/Run"
import { SnapshotSummary } from "@medipim/domain/Snapshot"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults, operation } from "./ApiDefaults.ts"
import { Busy, Failed, Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** `POST /run`: the snapshot to download. */
export const FetchRequest = Schema.Struct({
  snapshotId: Schema.optionalKey(
    described(
      SnapshotId,
      "The snapshot to download or resume; default a new one. A complete one is not downloaded again."
    )
  )
})
export type FetchRequest = typeof FetchRequest.Type

/** How far a download is. */
export const FetchProgress = Schema.TaggedStruct("Progress", {
  snapshotId: described(SnapshotId, "The snapshot that is downloaded."),
  records: described(Schema.Int, "Records received so far."),
  total: described(Schema.Int, "Records that the source announced; 0 until it did."),
  bytes: described(Schema.Int, "Bytes received so far, uncompressed."),
  parts: described(Schema.Int, "Parts stored so far.")
})

/** Events of a download: progress at least every 10 s, then exactly one `Completed` or `Failed`. */
export const FetchEvent = Schema.Union([
  FetchProgress,
  Heartbeat,
  Schema.TaggedStruct("Completed", { snapshot: described(SnapshotSummary, "The complete snapshot.") }),
  Failed
])
export type FetchEvent = typeof FetchEvent.Type

/** What the fetcher is doing now. */
export const FetcherStatus = Schema.Struct({
  isRunning: described(Schema.Boolean, "Whether a download is running."),
  progress: described(Schema.NullOr(FetchProgress), "How far it is; null without one."),
  waitingFor: Schema.optionalKey(described(Schema.Array(Wait), "Dependencies that it is waiting for.")),
  uptimeSeconds: described(Schema.Int, "Seconds since the process started.")
})

/** `POST /snapshots/prune`: which snapshots stay. */
export const PruneRequest = Schema.Struct({
  keep: described(Schema.Array(SnapshotId), "The snapshots that stay.")
})

/** The routes of the fetcher; all need the admin key. */
export class FetcherGroup extends HttpApiGroup.make("fetcher", { topLevel: true })
  .add(
    HttpApiEndpoint.get("status", "/status", { success: FetcherStatus }).annotateMerge(
      operation("Status", "The running download and what it is waiting for.")
    ),
    HttpApiEndpoint.post("run", "/run", {
      payload: [FetchRequest, Schema.Undefined],
      success: HttpApiSchema.StreamNdjson({ schema: FetchEvent }),
      error: Busy
    }).annotateMerge(
      operation(
        "Download a snapshot",
        "NDJSON: Progress or Heartbeat at least every 10 s, then exactly one Completed or Failed. One download runs at a time: " +
          "409 names the one that does. It stops when the caller disconnects; another call for the same snapshot resumes it."
      )
    ),
    HttpApiEndpoint.get("snapshots", "/snapshots", {
      success: Schema.Struct({
        snapshots: described(Schema.Array(SnapshotSummary), "Complete snapshots, by name, latest first.")
      }),
      error: Unavailable
    }).annotateMerge(operation("List snapshots", "The complete snapshots in the store.")),
    HttpApiEndpoint.post("prune", "/snapshots/prune", {
      payload: PruneRequest,
      success: Schema.Struct({ removed: described(Schema.Array(SnapshotId), "The snapshots that were deleted.") }),
      error: Unavailable
    }).annotateMerge(
      operation(
        "Prune snapshots",
        "Deletes the snapshots that are not in keep. The orchestrator calls it at the end of a run, unless that was cancelled or notification-only."
      )
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "Downloads of the catalogue into the snapshot store." }))
  .middleware(AdminKey) {}

/** Downloads snapshots into the store. */
export class FetcherApi extends HttpApi.make("medipim-fetcher")
  .add(SystemGroup)
  .add(FetcherGroup)
  .middleware(RequestErrors)
  .annotateMerge(
    apiDefaults(
      "MediPim AU Sync: fetcher",
      "Downloads the MediPim stream into the snapshot store. The orchestrator calls it. Send the admin key in X-ADMIN-KEY."
    )
  ) {}
