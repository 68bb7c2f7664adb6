import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Case } from "./Case.ts"

/** The run fails with this code, and its message ends with what to do. */
export const failing = (one: Case, code: string, advice: string): Case => ({
  ...one,
  begin: Effect.fnUntraced(function* (dice) {
    const sql = yield* SqlClient
    const told = sql<{ readonly code: string; readonly message: string }>`
      SELECT failure->>'code' AS code, failure->>'message' AS message
      FROM medipim.sync_runs ORDER BY id DESC LIMIT 1`
    const complaints = told.pipe(
      Effect.map(([is]) =>
        is?.code === code && is.message.endsWith(advice) ? [] : [`the run tells ${is?.code}: ${is?.message}`]
      ),
      Effect.orDie
    )
    return { ...(yield* one.begin(dice)), complaints }
  }),
  outcome: "failed"
})
