import { isPassing } from "@medipim/platform/database/Postgres"
import { Data, Effect, Schedule, Schema } from "effect"
import { PersistenceError } from "effect/cluster/ClusterError"
import { isSqlError } from "effect/sql/SqlError"

/** The workflow engine could not persist something because the database was unavailable. */
class EngineUnavailable extends Data.TaggedError("EngineUnavailable")<{ readonly fault: PersistenceError }> {}

const pauses = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(Schedule.jittered)
const tries = 30

const isPersistenceError = Schema.is(PersistenceError)

/** Whether the engine could not persist something because the database was unavailable for a moment. */
export const isDatabaseUnavailable = (fault: unknown): fault is PersistenceError =>
  isPersistenceError(fault) && isSqlError(fault.cause) && isPassing(fault.cause)

/**
 * Retries an activity whose start the workflow engine could not persist because Postgres was unavailable. The engine reports
 * that as a defect, which would fail the run. The name of the activity is its idempotency key, so a retry never runs it
 * twice.
 */
export const retryEnginePersistence = <A, E, R>(step: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  step.pipe(
    Effect.catchDefect((fault) =>
      isDatabaseUnavailable(fault) ? Effect.fail(new EngineUnavailable({ fault })) : Effect.die(fault)
    ),
    Effect.retry({ while: (error) => error instanceof EngineUnavailable, schedule: pauses, times: tries }),
    Effect.catchIf(
      (error) => error instanceof EngineUnavailable,
      ({ fault }) => Effect.die(fault)
    )
  )
