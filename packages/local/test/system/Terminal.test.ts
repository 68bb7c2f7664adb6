import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { medipim } from "./Medipim.ts"
import { sync, TestStack } from "./TestStack.ts"

/** What a source may send to move the cursor of a terminal, to forge a line or to turn text around. */
const hostile = "B\u001b[2J\u001b]0;title\u0007\nforged line\u009b2J\u202e\u2028end"
const acts = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/

layer(TestStack.layer(60), { excludeTestServices: true, timeout: "60 seconds" })("A terminal", (it) => {
  it.effect("is not moved by what the source sent, whatever command shows it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { runId } = yield* sync()
      // Postgres takes no such text from the source only where we would have to escape it; here it is as it could come.
      yield* sql`UPDATE medipim.sync_runs SET status = 'failed', published_at = NULL,
        failure = ${JSON.stringify({ code: "MediPimError", message: hostile })}::jsonb,
        progress = progress || ${JSON.stringify({ errors: [hostile] })}::jsonb WHERE id = ${runId}`
      yield* sql`INSERT INTO medipim.rejected_records
          (run_id, record, snapshot_id, part, line_index, product_id, reason, raw, line_bytes)
        VALUES (${runId}, 1, ${runId}, 'p', 1, ${hostile}, ${hostile}, ${Buffer.from(hostile)}, 1)`
      for (const command of ["rejected", "runs", "status", "watch", "cancel"]) {
        for (const form of [[], ["--json"]]) {
          const { out, err } = yield* medipim([command, ...form])
          const what = [command, ...form].join(" ")
          assert.include(out, "forged line", what)
          assert.notMatch(out + err, acts, what)
          assert.notMatch(out, /^\s*forged/m, what)
          if (form.length > 0) assert.include(JSON.stringify(JSON.parse(out)), JSON.stringify(hostile), what)
        }
      }
    })
  )
})
