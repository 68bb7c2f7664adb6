import { noProgress } from "@medipim/domain/Run"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Database from "../src/Database.ts"
import * as Engine from "../src/Engine.ts"

const pool = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) =>
    Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, "medipim-orchestrator-test")
  )
)

/** A database with everything that an orchestrator makes in it, and what reads it. */
export const database = (historyDays: number) =>
  Database.layer(historyDays).pipe(
    Layer.provideMerge(Engine.layer.pipe(Layer.provide(Migrations.layer))),
    Layer.provideMerge(pool),
    Layer.provide(TestDatabase.layer)
  )

interface Past {
  readonly id: string
  readonly daysAgo: number
  readonly snapshotId?: string
  readonly status?: "succeeded" | "failed" | "running"
  readonly published?: boolean
  readonly options?: object
  readonly mode?: string
}

/** The record of a run, as if it had been so many days ago. Records are in the order in which they are made. */
export const past = ({
  id,
  daysAgo,
  snapshotId = id,
  status = "succeeded",
  published = status === "succeeded",
  options = {},
  mode = "full"
}: Past) =>
  Effect.flatMap(SqlClient, (sql) => {
    const at = sql`now() - ${daysAgo}::float8 * interval '1 day'`
    const isRunning = status === "running"
    return sql`INSERT INTO medipim.sync_runs
        (id, mode, options, status, phase, snapshot_id, progress, started_at, ended_at, published_at)
      SELECT ${id}, ${mode}, ${JSON.stringify(options)}::jsonb, ${status}, 'idle', ${snapshotId},
        ${JSON.stringify(noProgress)}::jsonb, ${at}, CASE WHEN NOT ${isRunning}::boolean THEN ${at} END,
        CASE WHEN ${published}::boolean THEN ${at} END`
  })

/** An id whose name says nothing about its age. */
export const idOf = (n: number, year = 2026): string => `${year}0101T000000Z-${n.toString(16).padStart(8, "0")}`
