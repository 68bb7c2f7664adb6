import { Schema } from "effect"
import { SnapshotId } from "./Ids.ts"

/** What a run does. `full` fetches, stages, publishes and notifies; the others do a part of it. */
export const Mode = Schema.Literals(["full", "fetch-only", "maintain-only", "notification-only"])
export type Mode = typeof Mode.Type

export const smallestChunk = 100
export const largestChunk = 50_000
export const ChunkSize = Schema.Int.check(Schema.isBetween({ minimum: smallestChunk, maximum: largestChunk }))

const described = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

const OptionFields = Schema.Struct({
  mode: described(Mode, "what to do; default full"),
  chunkSize: described(ChunkSize, "records staged in one call; default CHUNK_SIZE"),
  offset: described(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    "first record to stage; a run on a part of the snapshot removes nothing"
  ),
  limit: described(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)), "how many records to stage"),
  snapshotId: described(SnapshotId, "maintain-only: the snapshot to stage; default the newest"),
  forceRefresh: described(Schema.Boolean, "download anew even when a fresh unpublished snapshot is there"),
  force: described(Schema.Boolean, "publish in spite of the brake on removals and rejected lines"),
  dryRun: described(Schema.Boolean, "work out the changes, write none"),
  debug: described(Schema.Boolean, "log this run in detail")
  // What `/docs` offers to send: it is valid, and writes nothing.
}).annotate({ examples: [{ dryRun: true }] })

/** An option that the mode would ignore is a mistake, and told as one. */
const misplaced = ({ mode = "full", ...options }: typeof OptionFields.Type): ReadonlyArray<Schema.FilterIssue> => {
  const stages = mode === "full" || mode === "maintain-only"
  const only: Readonly<Record<string, boolean>> = {
    snapshotId: mode === "maintain-only",
    forceRefresh: mode === "full" || mode === "fetch-only",
    offset: stages,
    limit: stages,
    chunkSize: stages,
    force: stages,
    dryRun: stages
  }
  return Object.keys(options)
    .filter((field) => only[field] === false)
    .map((field) => ({ path: [field], issue: `Does not go with mode ${mode}` }))
}

/** The body of `POST /sync`: everything is optional. */
export const SyncOptions = OptionFields.check(Schema.makeFilter(misplaced))
export type SyncOptions = typeof SyncOptions.Type
