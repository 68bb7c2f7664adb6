import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"

const packages = join(import.meta.dirname, "../../..")
const sources = readdirSync(packages, { recursive: true, encoding: "utf8" }).filter(
  (file) => /^[^/]+\/src\/.*\.ts$/.test(file) && !file.includes("migrations/")
)

/** The tables of which a file writes rows, in SQL with or without the names of schemas. */
const writtenIn = (file: string): ReadonlyArray<string> =>
  [
    ...readFileSync(join(packages, file), "utf8").matchAll(
      /\b(?:INSERT INTO|UPDATE|DELETE FROM|MERGE INTO|TRUNCATE)\s+(?:medipim\.|public\.)?([a-z_]{5,})/g
    )
  ].map(([, table = ""]) => table)

it("Each table is written by the service that owns it; what is deleted after its time, by the retention", () => {
  const owners: Record<string, ReadonlyArray<string>> = {}
  for (const file of sources) {
    for (const table of writtenIn(file)) owners[table] = [...new Set([...(owners[table] ?? []), file])].sort()
  }
  assert.deepStrictEqual(owners, {
    cluster_messages: ["orchestrator/src/Retention.ts"],
    cluster_replies: ["orchestrator/src/Retention.ts"],
    product_changes: ["maintainer/src/ProductTable.ts", "orchestrator/src/Retention.ts"],
    products: ["maintainer/src/ProductTable.ts"],
    rejected_records: [
      "maintainer/src/RejectedRecords.ts",
      "maintainer/src/StagingTables.ts",
      "orchestrator/src/Retention.ts"
    ],
    stage_batches: ["maintainer/src/StagingTables.ts"],
    stage_products: ["maintainer/src/StagedFacts.ts", "maintainer/src/StagingTables.ts"],
    sync_cancellations: ["platform/src/database/RunRecords.ts"],
    sync_chunks: ["maintainer/src/StagingTables.ts"],
    sync_runs: ["platform/src/database/RunRecords.ts"],
    sync_schedule: ["orchestrator/src/SyncSchedule.ts"],
    sync_waits: ["platform/src/database/RunRecords.ts"]
  })
})
