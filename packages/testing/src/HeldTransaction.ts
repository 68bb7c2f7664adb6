import { Deferred, Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/**
 * Runs one statement in a transaction of its own and keeps that open, with its locks, until `release` or the end of the
 * scope. A statement that fails fails the caller.
 */
export const holdTransaction = Effect.fnUntraced(function* (statement: string) {
  const sql = yield* SqlClient
  const isHeld = yield* Deferred.make<void>()
  const letGo = yield* Deferred.make<void>()
  const holder = yield* Effect.forkScoped(
    sql.withTransaction(
      sql
        .unsafe(statement)
        .pipe(Effect.andThen(Deferred.succeed(isHeld, undefined)), Effect.andThen(Deferred.await(letGo)))
    )
  )
  yield* Effect.raceFirst(Deferred.await(isHeld), Fiber.join(holder))
  return { release: Effect.andThen(Deferred.succeed(letGo, undefined), Effect.ignore(Fiber.join(holder))) }
})
