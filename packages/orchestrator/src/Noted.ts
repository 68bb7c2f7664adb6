import { isPassing } from "@medipim/platform/Postgres"
import { Data, Effect, Schedule, Schema } from "effect"
import { PersistenceError } from "effect/cluster/ClusterError"
import { isSqlError } from "effect/sql/SqlError"

/** The database was away for a moment when the engine wanted to note something. */
class NotNoted extends Data.TaggedError("NotNoted")<{ readonly fault: PersistenceError }> {}

const patience = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)
const tries = 30

const isPersistenceError = Schema.is(PersistenceError)

/** The engine could not note something because the database was away. */
export const isAway = (fault: unknown): fault is PersistenceError =>
  isPersistenceError(fault) && isSqlError(fault.cause) && isPassing(fault.cause)

/**
 * Asks the engine again when the database was away as it was to note that a step begins: to the engine that is a defect,
 * which would end the run. A step has its name, so asking again never does it twice.
 */
export const noted = <A, E, R>(step: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  step.pipe(
    Effect.catchDefect((fault) => (isAway(fault) ? Effect.fail(new NotNoted({ fault })) : Effect.die(fault))),
    Effect.retry({ while: (error) => error instanceof NotNoted, schedule: patience, times: tries }),
    Effect.catchIf(
      (error) => error instanceof NotNoted,
      ({ fault }) => Effect.die(fault)
    )
  )
