import type { RunId } from "@medipim/domain/Ids"
import { isOfValues, rowsAs, withoutStatementTimeout } from "@medipim/platform/database/Postgres"
import { Data, Effect, Option, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ProductTable } from "./ProductTable.ts"

const Staged = Schema.Struct({ id: Schema.String })

/** Ends the search without a trace in the database, and keeps what it found. */
class RollBack extends Data.TaggedError("RollBack")<{ readonly product: string | undefined }> {}

/** A search among 108,000 rows writes them about twice. */
const longestSearch = "3 minutes"

/**
 * The product at which the rows of a run stop being writable: the error of a constraint names a key or a value, and often
 * not even that. Halves the rows, writes each half and takes it back when it fails; in the end nothing is written.
 */
export const findFailingProduct = Effect.fn("Culprit.of")(function* (runId: RunId) {
  const sql = yield* SqlClient
  const table = yield* ProductTable

  /** Other errors, an outage or a lock, end the search: they say nothing about these rows. */
  const fails = (ids: ReadonlyArray<string>) =>
    sql.withTransaction(table.write(runId, ids)).pipe(
      Effect.as(false),
      Effect.catchIf(isOfValues, () => Effect.succeed(true))
    )

  const search = Effect.gen(function* () {
    yield* withoutStatementTimeout(sql)
    const staged = yield* sql`SELECT id FROM medipim.stage_products WHERE run_id = ${runId} ORDER BY record`.pipe(
      rowsAs(Staged)
    )
    let ids = staged.map(({ id }) => id)
    while (ids.length > 1) {
      const middle = Math.ceil(ids.length / 2)
      const first = ids.slice(0, middle)
      // A half that can be written stays: what the other half collides with may be in it.
      ids = (yield* fails(first)) ? first : ids.slice(middle)
    }
    const [last] = ids
    return yield* new RollBack({ product: last !== undefined && (yield* fails([last])) ? last : undefined })
  })

  return yield* sql.withTransaction(search).pipe(
    Effect.catchTag("RollBack", ({ product }) => Effect.succeed(Option.fromUndefinedOr(product))),
    Effect.timeoutOption(longestSearch),
    Effect.map(Option.flatten),
    Effect.orElseSucceed(() => Option.none<string>())
  )
})
