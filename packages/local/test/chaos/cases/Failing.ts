import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Case } from "../harness/Case.ts"

/** The run fails with this code, and its message ends with what to do. */
export const failing = (one: Omit<Case, "outcome">, code: string, advice: string): Case => ({
  ...one,
  outcome: { failed: code },
  demands: Effect.fnUntraced(function* (runId) {
    const sql = yield* SqlClient
    const [told] = yield* sql<{ readonly message: string | null }>`
      SELECT failure->>'message' AS message FROM medipim.sync_runs WHERE id = ${runId}`
    return told?.message?.endsWith(advice) === true ? [] : [`the run does not end with "${advice}": ${told?.message}`]
  })
})
