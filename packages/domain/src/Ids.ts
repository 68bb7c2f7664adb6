import { Schema } from "effect"

/**
 * Names of runs and snapshots begin with their UTC time to the second and end in eight hex digits, three for the
 * millisecond and five by chance, so that a listing of them, of a bucket or a log, reads by age. The clock may have been
 * wrong: nothing is decided by it, the order is the one of the database (`PublishOrder`).
 */
const timedId = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/

const TimedId = Schema.String.check(Schema.isPattern(timedId, { expected: "an id such as 20261123T020000Z-1a2b3c4d" }))

/** One execution of the sync. */
export const RunId = TimedId.pipe(Schema.brand("RunId"))
export type RunId = typeof RunId.Type

/** One complete download of the catalogue. */
export const SnapshotId = TimedId.pipe(Schema.brand("SnapshotId"))
export type SnapshotId = typeof SnapshotId.Type

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0")

/** How many ids one millisecond can have. */
const chances = 2 ** 20

/** A new id for the given moment (milliseconds since 1970) and a random number of 32 bits, of which it takes twenty. */
export const timedIdOf = (epochMillis: number, random: number): string => {
  const time = new Date(epochMillis).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")
  return `${time}Z-${hex(epochMillis % 1000, 3)}${hex((random >>> 0) % chances, 5)}`
}
