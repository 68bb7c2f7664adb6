import { Schema } from "effect"
import { described } from "./Described.ts"

/** A number of things, 0 or more. */
export const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** Outcome of a record, as far as its chunk alone shows it. */
export const chunkOutcomes = {
  inserted: described(Count, "Products that were not in the table."),
  updated: described(Count, "Products whose content changed."),
  restored: described(Count, "Removed products that came back."),
  unchanged: described(Count, "Products whose content is the stored one; nothing is written."),
  stale: described(
    Count,
    "Products of an older snapshot or a replay whose meta.updatedAt is not later than the stored one; nothing is written."
  ),
  rejected: described(Count, "Records that could not be decoded or stored; see GET /rejected of the maintainer.")
}

/** All outcomes: those that only the whole range of a run shows come last. */
export const outcomes = {
  ...chunkOutcomes,
  removed: described(Count, "Products that the snapshot lacks; they keep their row and get removed_at."),
  duplicates: described(Count, "Further lines of a product that the snapshot names more than once; the latest counts.")
}

/** What became of a record, or of a product that no record named. */
export type Outcome = keyof typeof outcomes
/** All outcomes, in the order in which they are shown. */
export const outcomeNames = Object.keys(outcomes) as ReadonlyArray<Outcome>

type Counts<Fields> = { readonly [Outcome in keyof Fields]: number }

const zero = <Fields extends object>(fields: Fields) =>
  Object.fromEntries(Object.keys(fields).map((outcome) => [outcome, 0])) as Counts<Fields>

/** Every outcome of a chunk, 0 times. */
export const noChunkOutcomes = zero(chunkOutcomes)
/** Every outcome of a run, 0 times. */
export const noOutcomes = zero(outcomes)

/** The sum of the counts of chunks. */
export const sumChunkOutcomes = (chunks: Iterable<Counts<typeof chunkOutcomes>>): Counts<typeof chunkOutcomes> => {
  const sum: { [Outcome in keyof typeof chunkOutcomes]: number } = { ...noChunkOutcomes }
  for (const chunk of chunks) {
    for (const outcome of Object.keys(sum) as ReadonlyArray<keyof typeof sum>) sum[outcome] += chunk[outcome]
  }
  return sum
}
