import { outageTimeout } from "@medipim/platform/process/Outage"
import { Duration } from "effect"

/** What the chaos suite does, in figures. `--short` is the form that runs with every change. */
export const figures = {
  whole: { products: 3000, seedsPerPoint: 10, faultRounds: 1, outage: 120_000 },
  short: { products: 1500, seedsPerPoint: 1, faultRounds: 1, outage: 20_000 }
} as const

/** Several chunks a run, so that there is a middle. */
export const chunkSize = 700
/** Several parts a download, so that something stands when it breaks. */
export const partBytes = 2_000_000
/** A place that is not reached in this time is a mistake of the suite, and counts as a violation. */
export const reachWithin = "40 seconds"
/** Milliseconds; a fault that is not done with in this time, a cancellation that is not answered say, is a violation too. */
export const strikeWithin = 45_000
/** Milliseconds; a run that has not ended this long after the fault hangs. */
export const endWithin = 120_000
/** Milliseconds; a cancelled run has ended this long afterwards. */
export const abandonWithin = 60_000
/** Nothing works on a run any more this long after its end. */
export const settleWithin = "30 seconds"
/** A cancelled run has ended after so many milliseconds. */
export const cancelWithin = 2000
/** A process that is told to stop has ended after so many milliseconds: `kill_timeout` of fly/*.toml, and some to spare. */
export const stopWithin = 27_000
/** Calls of `POST /sync` at once, over two orchestrators. */
export const callers = 50
/** Milliseconds; more than what is away for good is waited for. */
export const forGood = Duration.toMillis(outageTimeout) + 60_000
