import type { RunId } from "@medipim/domain/Ids"
import type { Wait } from "@medipim/domain/Run"
import type { RunRecords, RunState } from "@medipim/platform/database/RunRecords"
import { Duration, Effect, Option, Schedule } from "effect"
import { SyncFailed } from "./ServiceCalls.ts"

/** The failure code of a cancelled run. */
export const cancelledCode = "Cancelled"

/** Poll interval of the run row during a step. */
const pollInterval = "1 second"

const cancelled = new SyncFailed({ code: cancelledCode, message: "The run was cancelled.", retryable: false })

const timedOut = (longest: Duration.Duration, [wait]: ReadonlyArray<Wait>): SyncFailed => {
  const stopped = `The run was stopped after ${Duration.format(longest)} (MAX_RUN_DURATION); nothing was published.`
  const waited = wait === undefined ? "" : ` It was waiting for ${wait.what} since ${wait.since}: ${wait.reason}`
  return new SyncFailed({ code: "RunTimeout", message: `${stopped}${waited}`, retryable: false })
}

/**
 * Runs a step until the run is cancelled, or has taken too long. The record decides: when it says that the
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
  const waits = records.find(runId).pipe(
    Effect.map(Option.match({ onNone: () => [], onSome: ({ waitingFor }) => waitingFor ?? [] })),
    Effect.orElseSucceed((): ReadonlyArray<Wait> => [])
  )
  const failUnlessActive = (state: RunState) => {
    if (state === "active") return Effect.void
    return state === "over"
      ? Effect.fail(cancelled)
      : Effect.flatMap(waits, (found) => Effect.fail(timedOut(longest, found)))
  }
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
