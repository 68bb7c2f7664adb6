import { Schema } from "effect"
import { described } from "./Described.ts"
import { SnapshotId } from "./Ids.ts"

/** What a run does. `full` fetches, stages, publishes and notifies; the others do a part of it. */
export const Mode = Schema.Literals(["full", "fetch-only", "maintain-only", "notification-only"])
export type Mode = typeof Mode.Type

/** Records. */
export const smallestChunk = 100
export const largestChunk = 50_000
/** How many records are staged in one call. */
export const ChunkSize = Schema.Int.check(Schema.isBetween({ minimum: smallestChunk, maximum: largestChunk }))

const option = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(described(schema, description))

const OptionFields = Schema.Struct({
  mode: option(Mode, "what to do; default full"),
  chunkSize: option(ChunkSize, "records staged in one call; default CHUNK_SIZE"),
  offset: option(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    "first record to stage; a run on a part of the snapshot removes nothing"
  ),
  limit: option(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)), "how many records to stage"),
  snapshotId: option(SnapshotId, "maintain-only: the snapshot to stage; default the newest"),
  forceRefresh: option(Schema.Boolean, "download again even if a fresh unpublished snapshot exists"),
  force: option(
    Schema.Boolean,
    "publish despite the brakes on removals, rejected lines, unknown shapes and lost values"
  ),
  dryRun: option(Schema.Boolean, "compute the changes without writing them"),
  debug: option(Schema.Boolean, "log this run in detail")
  // What `/docs` offers to send: it is valid, and writes nothing.
}).annotate({ description: "Options of a sync; all may be left out.", examples: [{ dryRun: true }] })

/** An option that the mode would ignore is rejected. */
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
