import { columnNames } from "@medipim/domain/ProductColumns"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { rowAs } from "./Postgres.ts"

/** A table that a service works with, the columns that it names and what it does there. */
export interface TableNeed {
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly rights: ReadonlyArray<"SELECT" | "INSERT" | "UPDATE" | "DELETE">
}

const written = [...columnNames, "line_hash"]
const all = ["SELECT", "INSERT", "UPDATE", "DELETE"] as const
const runs: TableNeed = {
  table: "medipim.sync_runs",
  columns: [
    ...["id", "seq", "mode", "options", "status", "phase", "snapshot_id", "progress", "failure", "result"],
    ...["started_at", "ended_at", "published_at", "notified_at"]
  ],
  rights: all
}
/** A view. */
const publishes: TableNeed = {
  table: "medipim.published_snapshots",
  columns: ["snapshot_id", "seq", "run_id", "run_seq", "published_at", "requested_at", "whole"],
  rights: ["SELECT"]
}
const changes: TableNeed = {
  table: "medipim.product_changes",
  columns: ["id", "run_id", "product_id", "change", "changed_keys", "before", "changed_at"],
  rights: all
}
const rejected: TableNeed = {
  table: "medipim.rejected_records",
  columns: [
    ...["run_id", "record", "snapshot_id", "part", "line_index", "product_id", "reason", "raw", "line_bytes"],
    ...["rejected_at", "replayed_by"]
  ],
  rights: all
}

/** What the maintainer works with. */
export const maintainerNeeds: ReadonlyArray<TableNeed> = [
  {
    table: "public.products",
    columns: [...written, "first_seen_at", "changed_at", "removed_at", "last_run_id"],
    rights: ["SELECT", "INSERT", "UPDATE"]
  },
  { table: "medipim.stage_products", columns: ["run_id", "record", "change", ...written], rights: all },
  {
    table: "medipim.stage_batches",
    columns: ["run_id", "first_record", "ids", "unchanged", "unchanged_at"],
    rights: all
  },
  {
    table: "medipim.sync_chunks",
    columns: [
      ...["run_id", "first_record", "records", "inserted", "updated", "restored", "unchanged", "stale", "rejected"],
      ...["unknown_fields", "staged_at"]
    ],
    rights: all
  },
  { table: "medipim.sync_cancellations", columns: ["run_id", "requested_at"], rights: ["SELECT"] },
  { table: "medipim.sync_waits", columns: ["run_id", "waits"], rights: ["SELECT"] },
  runs,
  publishes,
  changes,
  rejected
]

/** What the orchestrator works with. */
export const orchestratorNeeds: ReadonlyArray<TableNeed> = [
  runs,
  publishes,
  changes,
  rejected,
  { table: "medipim.sync_cancellations", columns: ["run_id", "requested_at"], rights: ["SELECT", "INSERT"] },
  { table: "medipim.sync_waits", columns: ["run_id", "waits"], rights: all },
  { table: "medipim.sync_schedule", columns: ["one_row", "cron", "timezone", "handled_until"], rights: all }
]

const Faults = Schema.Struct({
  readOnly: Schema.NullOr(Schema.String),
  missing: Schema.Array(Schema.String),
  denied: Schema.Array(Schema.String)
})

/** What keeps a sync from working in this database, in words; one question, so that it answers fast. */
export const databaseFaults = Effect.fn("DatabaseNeeds.databaseFaults")(function* (needs: ReadonlyArray<TableNeed>) {
  const sql = yield* SqlClient
  const columns = needs.flatMap(({ table, columns }) => columns.map((column) => [table, column] as const))
  const rights = needs.flatMap(({ table, rights }) => rights.map((right) => [table, right] as const))
  const { readOnly, missing, denied } = yield* sql`SELECT
    CASE WHEN pg_is_in_recovery() THEN 'it is a replica'
      WHEN current_setting('transaction_read_only') = 'on' THEN 'default_transaction_read_only is on' END AS "readOnly",
    array(
      SELECT DISTINCT CASE WHEN to_regclass(t) IS NULL THEN t ELSE t || '.' || c END
      FROM unnest(${columns.map(([table]) => table)}::text[], ${columns.map(([, column]) => column)}::text[]) AS need(t, c)
      WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(t) AND attname = c AND NOT attisdropped)
      ORDER BY 1
    ) AS missing,
    array(
      SELECT p || ' on ' || t
      FROM unnest(${rights.map(([table]) => table)}::text[], ${rights.map(([, right]) => right)}::text[]) AS need(t, p)
      WHERE to_regclass(t) IS NOT NULL AND NOT has_table_privilege(to_regclass(t), p)
    ) AS denied`.pipe(rowAs(Faults))
  return [
    ...(readOnly === null ? [] : [`ReadOnly: it takes no changes (${readOnly})`]),
    ...(missing.length === 0 ? [] : [`Missing: ${missing.join(", ")} (was it renamed? npm run migrate)`]),
    ...(denied.length === 0 ? [] : [`Denied: the role lacks ${denied.join(", ")} (docs/sql/roles.sql)`])
  ]
})
