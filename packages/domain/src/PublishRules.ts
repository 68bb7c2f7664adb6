import { Schema } from "effect"
import { described } from "./Described.ts"
import { Count, outcomes } from "./Outcomes.ts"
import type { UnknownField } from "./UnknownFields.ts"

/** What a publish does, or in a dry run would do, to the catalogue. */
export const PublishCounts = Schema.Struct({
  records: described(Count, "Records in the range of the run. The other counts, without removed, add up to it."),
  ...outcomes
})
export type PublishCounts = typeof PublishCounts.Type

/** Why a publish was refused. */
export const RefusalReason = Schema.Literals([
  "nothing-to-publish",
  "incomplete-staging",
  "too-many-rejected",
  "too-many-removed",
  "unknown-shape",
  "values-lost",
  "not-written",
  "not-running"
])

/** The publish was refused, and the catalogue is unchanged. `counts` is what it would have done. */
export class PublishRefused extends Schema.TaggedError<PublishRefused>()(
  "PublishRefused",
  {
    reason: described(RefusalReason, "The check that refused."),
    message: described(Schema.String, "What was found and what to do."),
    counts: described(PublishCounts, "What the publish would have done.")
  },
  { httpApiStatus: 422 }
) {}

/** Largest share of rejected lines that may pass without `force`. */
export const rejectedLimit = 0.01
/** Largest share of the products in the catalogue that one run may remove without `force`. */
export const removalLimit = 0.05
/** Largest share of records with a field in an unknown shape that may pass without `force` or `TOLERATED_FIELDS`. */
export const unknownLimit = 0.01
/** A field loses its values when so many products, and more than this share of those that have one, come without. */
export const lossLimit = { products: 20, share: 0.5 }

/** A field whose value is stored for some products and is missing in their new lines. */
export interface LostField {
  readonly field: string
  /** Products that lose their value less those that gain one, an id of the first, and products that have one now. */
  readonly products: number
  readonly example: string
  readonly holders: number
}

/** What the database knows of a run when it is about to publish. */
export interface StagedFacts {
  /** Records that the chunks said they had read. */
  readonly chunkRecords: number
  /** Records with a known product: unchanged, stale or staged. */
  readonly known: number
  /** Distinct products among them. */
  readonly distinct: number
  readonly rejected: number
  readonly rejectedWithoutId: number
  /** Rows of the staging table by what they do, and how many the chunks had put there. */
  readonly inserted: number
  readonly updated: number
  readonly restored: number
  readonly stagedByChunks: number
  /** Rows that the publish leaves out: the unchanged line of their product is the later one. */
  readonly superseded: number
  readonly stale: number
  /** Staged products whose `meta.updatedAt` is earlier than the stored one, and the id of one of them. */
  readonly wentBack: number
  readonly wentBackExample: string | null
  /** Products in the catalogue now, without removed ones. */
  readonly present: number
  /** A snapshot that was published before and is newer than the one of the run, if there is one. */
  readonly newerPublished: string | null
  readonly unknownFields: ReadonlyArray<UnknownField>
  readonly lostFields: ReadonlyArray<LostField>
}

/** The snapshot of the run, and how many of its records the run is about. */
export interface Scope {
  readonly snapshot: { readonly complete: boolean; readonly records: number }
  readonly records: number
}

/** Each record is counted once: as a change, as unchanged, stale or rejected, or as a further line of a product. */
export const countsOf = (staged: StagedFacts, records: number, removed: number): PublishCounts => {
  const { inserted, updated, restored, stale, rejected } = staged
  const changed = inserted + updated + restored
  const unchanged = Math.max(0, staged.distinct - changed - stale)
  const duplicates = Math.max(0, staged.known - changed - stale - unchanged)
  return { records, inserted, updated, unchanged, stale, restored, removed, rejected, duplicates }
}

/** A run that looked at nothing proves nothing. */
export const nothingToPublish = ({ snapshot, records }: Scope): string | undefined => {
  if (!snapshot.complete) return "the snapshot is an empty answer of MediPim (204)."
  return records === 0 ? "there is no record in the range: offset is beyond the end of the snapshot." : undefined
}

/**
 * Why these records may not be published, if so: every record of the range must be staged, unchanged, stale or
 * rejected, and the staging table must still hold what the chunks wrote to it.
 */
export const incompleteness = (staged: StagedFacts, records: number): string | undefined => {
  if (staged.chunkRecords !== records) return `${staged.chunkRecords} of ${records} records were staged`
  const accounted = staged.known + staged.rejected
  if (accounted !== records) return `${accounted} of ${records} records are accounted for`
  const duplicates = staged.known - staged.distinct
  const rows = staged.inserted + staged.updated + staged.restored + staged.superseded
  return rows > staged.stagedByChunks || rows < staged.stagedByChunks - duplicates
    ? `the staging table holds ${rows} rows, ${staged.stagedByChunks} were written to it`
    : undefined
}

const percent = (share: number): string => `${share * 100} %`

/** The brake on rejected lines. */
export const tooManyRejected = (rejected: number, records: number): string | undefined =>
  rejected > records * rejectedLimit
    ? `${rejected} of ${records} records were rejected, more than ${percent(rejectedLimit)}. ` +
      "See `npm run -s medipim -- rejected`; sync again with --force to publish the others."
    : undefined

/** The brake on removals. */
export const tooManyRemoved = (removed: number, present: number): string | undefined =>
  removed > present * removalLimit
    ? `${removed} of ${present} products would be removed, more than ${percent(removalLimit)}. ` +
      "Check the source; if it is right, sync again with force."
    : undefined

/** The brake on fields in an unknown shape. */
export const unknownShapes = (fields: ReadonlyArray<UnknownField>, records: number): string | undefined => {
  const many = fields.filter(({ products }) => products > records * unknownLimit)
  if (many.length === 0) return undefined
  const list = many.map(({ field, products, example }) => `${field} of ${products} products (for example ${example})`)
  return (
    `${list.join(", ")} came in an unknown shape, in more than ${percent(unknownLimit)} of ${records} records. ` +
    "Look at the field in the source. To publish all the same, with the stored values kept, sync again with force, or " +
    `set TOLERATED_FIELDS=${many.map(({ field }) => field).join(",")} on the maintainer.`
  )
}

/** The brake on fields that vanish: most likely the source has renamed them. */
export const valuesLost = (fields: ReadonlyArray<LostField>): string | undefined => {
  const many = fields.filter(
    ({ products, holders }) => products >= lossLimit.products && products > holders * lossLimit.share
  )
  if (many.length === 0) return undefined
  const list = many.map(
    ({ field, products, holders, example }) => `${field} of ${products} of ${holders} products (for example ${example})`
  )
  return (
    `${list.join(", ")} would lose its value. Was the field renamed at the source? If the values are gone for good, sync ` +
    `again with force, or set TOLERATED_FIELDS=${many.map(({ field }) => field).join(",")} on the maintainer.`
  )
}

/**
 * Why products that the snapshot does not name stay, or `undefined` when they may be removed: only the whole of the newest
 * complete snapshot in which every line gave its product's id, once, proves that a product is gone.
 */
export const reasonNotToRemove = (staged: StagedFacts, { snapshot, records }: Scope): string | undefined => {
  if (!snapshot.complete) return "the snapshot is not complete"
  // What came after this snapshot is not missing from it.
  if (staged.newerPublished !== null) return `a newer snapshot (${staged.newerPublished}) was published before`
  if (records !== snapshot.records) return "only a part of the snapshot was staged"
  if (staged.rejectedWithoutId > 0) return `${staged.rejectedWithoutId} rejected lines have no product id`
  return staged.known !== staged.distinct ? `${staged.known - staged.distinct} lines repeat a product id` : undefined
}

/** What a person should know of fields in an unknown shape. */
export const unknownWarnings = (fields: ReadonlyArray<UnknownField>): ReadonlyArray<string> =>
  fields.map(
    ({ field, products, example }) =>
      `${field} came in an unknown shape for ${products} products (for example ${example}): the stored value was kept.`
  )

/** Some products lose a value every night: of a few, only a larger share of the holders is worth a warning. */
const isWorthTelling = ({ products, holders }: LostField): boolean =>
  products > 1 && products > holders * (products < 20 ? 0.05 : 0.005)

/** What a person should know of fields that have lost values. */
export const lossWarnings = (fields: ReadonlyArray<LostField>): ReadonlyArray<string> =>
  fields
    .filter(isWorthTelling)
    .map(
      ({ field, products, holders, example }) =>
        `${field} lost its value in ${products} of ${holders} products (for example ${example}).`
    )

/** What a person should know of a run that publishes. */
export const warningsOf = (staged: StagedFacts, scope: Scope): ReadonlyArray<string> => {
  const keep = reasonNotToRemove(staged, scope)
  return [
    ...(keep === undefined ? [] : [`No product was removed: ${keep}.`]),
    ...(staged.newerPublished === null || staged.inserted + staged.restored === 0
      ? []
      : [
          `${staged.inserted} products were added and ${staged.restored} restored from this snapshot, which is older than ` +
            `${staged.newerPublished}: the newer one may not have them.`
        ]),
    ...lossWarnings(staged.lostFields),
    ...(staged.wentBack === 0
      ? []
      : [
          `${staged.wentBack} products went back in time (for example ${staged.wentBackExample}): their meta.updatedAt is ` +
            "earlier than the stored one. The newest snapshot counts, so they were updated."
        ]),
    ...unknownWarnings(staged.unknownFields)
  ]
}

/** What to do with the brakes. */
export interface Brakes {
  readonly force: boolean
  /** Fields whose values may come in an unknown shape, or not at all. */
  readonly toleratedFields: ReadonlySet<string>
}

/** Why a staged run may not be published, if so. `removed` is the number of products that it would remove. */
export const refusalOf = (
  staged: StagedFacts,
  scope: Scope,
  removed: number,
  { force, toleratedFields }: Brakes
): Pick<PublishRefused, "reason" | "message"> | undefined => {
  const nothing = nothingToPublish(scope)
  if (nothing !== undefined) return { reason: "nothing-to-publish", message: nothing }
  const incomplete = incompleteness(staged, scope.records)
  if (incomplete !== undefined) return { reason: "incomplete-staging", message: `${incomplete}.` }
  if (force) return undefined
  const isStrict = ({ field }: { readonly field: string }) => !toleratedFields.has(field)
  const brakes = [
    ["too-many-rejected", tooManyRejected(staged.rejected, scope.records)],
    ["unknown-shape", unknownShapes(staged.unknownFields.filter(isStrict), scope.records)],
    ["values-lost", valuesLost(staged.lostFields.filter(isStrict))],
    ["too-many-removed", tooManyRemoved(removed, staged.present)]
  ] as const
  const [pulled] = brakes.flatMap(([reason, message]) => (message === undefined ? [] : [{ reason, message }]))
  return pulled
}

/** What is to be done with a staged run. */
export type PublishDecision =
  | {
      readonly _tag: "Refuse"
      readonly reason: PublishRefused["reason"]
      readonly message: string
      readonly counts: PublishCounts
    }
  | {
      readonly _tag: "Publish"
      readonly counts: PublishCounts
      readonly warnings: ReadonlyArray<string>
      /** True when the table already is what the publish would make of it: there is nothing to write, nor to read back. */
      readonly isUpToDate: boolean
    }

/**
 * Decides whether a staged run is published. `removed` are the products in the catalogue that no line of the run names;
 * empty when `reasonNotToRemove` returns a reason.
 */
export const decidePublish = (
  staged: StagedFacts,
  scope: Scope,
  removed: ReadonlyArray<string>,
  brakes: Brakes
): PublishDecision => {
  const counts = countsOf(staged, scope.records, removed.length)
  const refusal = refusalOf(staged, scope, removed.length, brakes)
  if (refusal !== undefined) return { _tag: "Refuse", ...refusal, counts }
  const isUpToDate =
    staged.inserted + staged.updated + staged.restored + staged.rejected + removed.length === 0 &&
    reasonNotToRemove(staged, scope) === undefined &&
    // Every present product is named, and as many are.
    staged.present === staged.distinct
  return { _tag: "Publish", counts, warnings: warningsOf(staged, scope), isUpToDate }
}
