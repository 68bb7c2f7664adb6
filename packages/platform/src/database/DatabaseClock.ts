import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { rowAs } from "./Postgres.ts"

const Now = Schema.Struct({ millis: Schema.Finite })

/** The one clock that all processes share: theirs may be wrong, and differ. Milliseconds since 1970. */
export class DatabaseClock extends Context.Service<DatabaseClock, { readonly now: Effect.Effect<number, SqlError> }>()(
  "platform/DatabaseClock"
) {
  static readonly layer = Layer.effect(
    DatabaseClock,
    Effect.map(SqlClient, (sql) =>
      DatabaseClock.of({
        now: sql`
          SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS millis`.pipe(
          rowAs(Now),
          Effect.map(({ millis }) => millis)
        )
      })
    )
  )
}
