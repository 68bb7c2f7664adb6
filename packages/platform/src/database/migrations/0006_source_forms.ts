import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** What the source sends otherwise than expected: fields in an unknown shape, and lines too long to be read. */
export const sourceForms = Effect.gen(function* () {
  const sql = yield* SqlClient
  // A list of {field, products, example}.
  yield* sql`ALTER TABLE medipim.sync_chunks ADD COLUMN unknown_fields jsonb NOT NULL DEFAULT '[]'`
  // Of the whole line; raw may hold less of it, or nothing. Null in rows of before: raw is the whole line.
  yield* sql`ALTER TABLE medipim.rejected_records ADD COLUMN line_bytes int`
})
