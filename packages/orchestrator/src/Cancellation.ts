import type { RunId } from "@medipim/domain/Ids"
import { Effect, Schedule } from "effect"
import type { RunRecords } from "./RunRecords.ts"
import { SyncFailed } from "./ServiceCalls.ts"

/** The code of a run that somebody has stopped. */
export const cancelledCode = "Cancelled"

/** How often the record of the run is asked while a step goes on. */
const look = "1 second"

const cancelled = Effect.fail(
  new SyncFailed({ code: cancelledCode, message: "The run was cancelled.", retryable: false })
)

/**
 * Does a step of a run until somebody stops the run. The record decides: when it says that the run is over, whatever goes
 * on for it stops.
 */
export const unlessCancelled = <A, R>(
  records: RunRecords["Service"],
  runId: RunId,
  execute: Effect.Effect<A, SyncFailed, R>
): Effect.Effect<A, SyncFailed, R> => {
  // While the database does not answer, the work that needs it will notice.
  const goesOn = Effect.orElseSucceed(records.goesOn(runId), () => true)
  const stopped = goesOn.pipe(
    Effect.repeat({ schedule: Schedule.spaced(look), while: (running) => running }),
    Effect.andThen(cancelled)
  )
  return execute.pipe(
    // A service may notice first, and refuse to work for a run that is over.
    Effect.catch((error) => Effect.flatMap(goesOn, (running) => (running ? Effect.fail(error) : cancelled))),
    Effect.raceFirst(stopped)
  )
}
