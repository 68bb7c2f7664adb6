import { Schema } from "effect"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** What a publish does, or in a dry run would do, to the catalogue. Counts of products. */
export const PublishCounts = Schema.Struct({
  /** Records of the snapshot that the run was to stage. */
  records: Count,
  inserted: Count,
  updated: Count,
  unchanged: Count,
  /** Older than what is stored (`meta.updatedAt`): not written. */
  stale: Count,
  restored: Count,
  removed: Count,
  rejected: Count,
  /** Further lines of a product that the snapshot names more than once: the newest one counts. */
  duplicates: Count
})
export type PublishCounts = typeof PublishCounts.Type

/** Why a publish was refused. Nothing was changed. */
export const RefusalReason = Schema.Literals([
  "nothing-to-publish",
  "incomplete-staging",
  "too-many-rejected",
  "too-many-removed",
  "not-running"
])

export class PublishRefused extends Schema.TaggedError<PublishRefused>()(
  "PublishRefused",
  { reason: RefusalReason, message: Schema.String, counts: PublishCounts },
  { httpApiStatus: 422 }
) {}

/** Largest share of rejected lines that may pass without `force`. */
export const rejectedLimit = 0.01
/** Largest share of the products in the catalogue that one run may remove without `force`. */
export const removalLimit = 0.05

/** What the database knows of a run when it is about to publish. */
export interface Staged {
  /** Records that the chunks said they had read. */
  readonly chunkRecords: number
  /** Records with a known product: unchanged, stale or staged. */
  readonly known: number
  /** Distinct products among them. */
  readonly distinct: number
  readonly rejected: number
  readonly rejectedWithoutId: number
  /** Rows of the staging table, and how many the chunks had put there. */
  readonly stagedRows: number
  readonly stagedByChunks: number
  /** Products in the catalogue now, without removed ones. */
  readonly present: number
  /** The newest snapshot that was published before, if any. */
  readonly newestPublished: string | null
}

/** A run that looked at nothing proves nothing. */
export const nothingToPublish = (snapshot: { readonly complete: boolean }, records: number): string | undefined => {
  if (!snapshot.complete) return "the snapshot is an empty answer of MediPim (204)."
  return records === 0 ? "there is no record in the range: offset is beyond the end of the snapshot." : undefined
}

/**
 * Why these records may not be published, if so: every record of the range must be staged, unchanged, stale or
 * rejected, and the staging table must still hold what the chunks wrote to it.
 */
export const incompleteness = (staged: Staged, records: number): string | undefined => {
  if (staged.chunkRecords !== records) return `${staged.chunkRecords} of ${records} records were staged`
  const accounted = staged.known + staged.rejected
  if (accounted !== records) return `${accounted} of ${records} records are accounted for`
  const duplicates = staged.known - staged.distinct
  return staged.stagedRows > staged.stagedByChunks || staged.stagedRows < staged.stagedByChunks - duplicates
    ? `the staging table holds ${staged.stagedRows} rows, ${staged.stagedByChunks} were written to it`
    : undefined
}

/** The brake on rejected lines. */
export const tooManyRejected = (rejected: number, records: number): string | undefined =>
  rejected > records * rejectedLimit
    ? `${rejected} of ${records} records could not be decoded, more than ${rejectedLimit * 100} %. ` +
      "See `medipim rejected`; sync again with force to publish the others."
    : undefined

/** The brake on removals. */
export const tooManyRemoved = (removed: number, present: number): string | undefined =>
  removed > present * removalLimit
    ? `${removed} of ${present} products would be removed, more than ${removalLimit * 100} %. ` +
      "Check the source; if it is right, sync again with force."
    : undefined

/**
 * Why products that the snapshot does not name stay, or `undefined` when they may be removed: only the whole of a
 * complete snapshot in which every line gave its product's id, once, proves that a product is gone.
 */
export const removalsOff = (
  staged: Staged,
  snapshot: { readonly snapshotId: string; readonly complete: boolean; readonly records: number },
  records: number
): string | undefined => {
  if (!snapshot.complete) return "the snapshot is not complete"
  // Ids begin with their time. What came after this snapshot is not missing from it.
  if (staged.newestPublished !== null && staged.newestPublished > snapshot.snapshotId) {
    return `a newer snapshot (${staged.newestPublished}) was published before`
  }
  if (records !== snapshot.records) return "only a part of the snapshot was staged"
  if (staged.rejectedWithoutId > 0) return `${staged.rejectedWithoutId} rejected lines do not tell their product`
  return staged.known !== staged.distinct
    ? `${staged.known - staged.distinct} lines name a product that another line names too`
    : undefined
}
