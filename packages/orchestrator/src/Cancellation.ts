import type { RunId } from "@medipim/domain/Ids"
import { Duration, Effect, Schedule } from "effect"
import type { RunRecords, RunState } from "./RunRecords.ts"
import { SyncFailed } from "./ServiceCalls.ts"

/** The code of a run that somebody has stopped. */
export const cancelledCode = "Cancelled"

/** How often the record of the run is asked while a step goes on. */
const pollInterval = "1 second"

const stoppedBy = (state: Exclude<RunState, "active">, longest: Duration.Duration): SyncFailed =>
  state === "over"
    ? new SyncFailed({ code: cancelledCode, message: "The run was cancelled.", retryable: false })
    : new SyncFailed({
        code: "RunTimeout",
        message: `The run was stopped after ${Duration.format(longest)} (MAX_RUN_DURATION); nothing was published.`,
        retryable: false
      })

/**
 * Does a step of a run until somebody stops the run, or it has taken too long. The record decides: when it says that the
 * run is over, all work for it stops.
 */
export const whileActive = <A, R>(
  records: RunRecords["Service"],
  runId: RunId,
  longest: Duration.Duration,
  execute: Effect.Effect<A, SyncFailed, R>
): Effect.Effect<A, SyncFailed, R> => {
  // While the database does not answer, the work that needs it will notice.
  const state = Effect.orElseSucceed(records.state(runId, longest), (): RunState => "active")
  const failUnlessActive = (state: RunState) =>
    state === "active" ? Effect.void : Effect.fail(stoppedBy(state, longest))
  const stopped = state.pipe(
    Effect.flatMap(failUnlessActive),
    Effect.repeat(Schedule.spaced(pollInterval)),
    Effect.andThen(Effect.never)
  )
  return execute.pipe(
    // A service may notice first, and refuse to work for a run that is over.
    Effect.catch((error) => state.pipe(Effect.flatMap(failUnlessActive), Effect.andThen(Effect.fail(error)))),
    Effect.raceFirst(stopped)
  )
}
