import { Schema } from "effect"

/**
 * Names of runs and snapshots begin with their UTC time to the second and end in eight random hex digits, so that
 * sorting them as text sorts them by age, in a bucket listing as well as in a log.
 */
const timedId = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/

const TimedId = Schema.String.check(Schema.isPattern(timedId, { expected: "an id such as 20261123T020000Z-1a2b3c4d" }))

/** One execution of the sync. */
export const RunId = TimedId.pipe(Schema.brand("RunId"))
export type RunId = typeof RunId.Type

/** One complete download of the catalogue. */
export const SnapshotId = TimedId.pipe(Schema.brand("SnapshotId"))
export type SnapshotId = typeof SnapshotId.Type

/** A new id for the given moment (milliseconds since 1970) and 32 random bits. */
export const timedIdOf = (epochMillis: number, random: number): string => {
  const time = new Date(epochMillis).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")
  return `${time}Z-${(random >>> 0).toString(16).padStart(8, "0")}`
}
