import { SnapshotId } from "@medipim/domain/Ids"
import { freshForHours } from "@medipim/http-api/OrchestratorApi"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { isoTime, rowAs, rowsAs } from "./Postgres.ts"

const Named = Schema.Struct({ snapshotId: SnapshotId })

/** A snapshot that a run of this database fetched, and how long ago that run ended; `null` while it is running. */
const Fetched = Schema.Struct({ snapshotId: SnapshotId, ageSeconds: Schema.NullOr(Schema.Finite) })
export type Fetched = typeof Fetched.Type

/** Of the catalogue as it was last published: when, when its source was asked, and whether that is short enough ago. */
const Freshness = Schema.Struct({
  publishedAt: Schema.NullOr(Schema.String),
  requestedAt: Schema.NullOr(Schema.String),
  isFresh: Schema.Boolean
})
export type Freshness = typeof Freshness.Type

/**
 * Which snapshot is newer. The order is the one in which the database gave the runs that fetched them their rows; no
 * clock of a process has a say in it.
 */
export class PublishOrder extends Context.Service<
  PublishOrder,
  {
    /** The snapshot published before that is newer than this one, if there is one. One that no run fetched is older than any. */
    readonly newerThan: (id: SnapshotId) => Effect.Effect<Option.Option<SnapshotId>, SqlError>
    /** The snapshot that the catalogue stands for: the newest one published, whole before in part. */
    readonly current: Effect.Effect<Option.Option<SnapshotId>, SqlError>
    /** Those of the snapshots that runs of this database fetched, newest first. */
    readonly fetched: (ids: ReadonlyArray<SnapshotId>) => Effect.Effect<ReadonlyArray<Fetched>, SqlError>
    /** Whether this snapshot was published as a whole. */
    readonly isPublished: (id: SnapshotId) => Effect.Effect<boolean, SqlError>
    /**
     * When a whole snapshot was last published, when the newest of them was requested, and whether that was in the last 26
     * hours, by the clock of the database. An unknown age, or one in the future, is not fresh.
     */
    readonly freshness: Effect.Effect<Freshness, SqlError>
  }
>()("platform/PublishOrder") {
  static readonly layer = Layer.effect(
    PublishOrder,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const first = (statement: Effect.Effect<ReadonlyArray<object>, SqlError>) =>
        Effect.map(rowsAs(Named)(statement), ([row]) => Option.fromUndefinedOr(row?.snapshotId))

      const newerThan = Effect.fn("PublishOrder.newerThan")((id: SnapshotId) =>
        first(sql`SELECT snapshot_id AS "snapshotId" FROM medipim.published_snapshots
          WHERE snapshot_id <> ${id} AND seq > coalesce((SELECT seq FROM medipim.sync_runs WHERE id = ${id}), 0)
          ORDER BY seq DESC LIMIT 1`)
      )

      const current = sql`SELECT snapshot_id AS "snapshotId" FROM medipim.published_snapshots
        ORDER BY whole DESC, seq DESC LIMIT 1`.pipe(first, Effect.withSpan("PublishOrder.current"))

      const fetched = Effect.fn("PublishOrder.fetched")((ids: ReadonlyArray<SnapshotId>) =>
        sql`SELECT id AS "snapshotId", extract(epoch FROM now() - ended_at)::float8 AS "ageSeconds"
          FROM medipim.sync_runs WHERE id = ANY(${ids}::text[]) ORDER BY seq DESC`.pipe(rowsAs(Fetched))
      )

      const isPublished = Effect.fn("PublishOrder.isPublished")(function* (id: SnapshotId) {
        const rows = yield* sql`SELECT FROM medipim.published_snapshots WHERE snapshot_id = ${id} AND whole LIMIT 1`
        return rows.length > 0
      })

      const iso = (column: string) => sql.literal(isoTime(column))
      const freshness = sql`SELECT ${iso("published_at")} AS "publishedAt", ${iso("requested_at")} AS "requestedAt",
          coalesce(requested_at BETWEEN now() - ${`${freshForHours} hours`}::interval AND now(), false) AS "isFresh"
        FROM (SELECT
          (SELECT published_at FROM medipim.published_snapshots WHERE whole ORDER BY run_seq DESC LIMIT 1) AS published_at,
          (SELECT requested_at FROM medipim.published_snapshots WHERE whole ORDER BY seq DESC LIMIT 1) AS requested_at
        ) AS newest`.pipe(rowAs(Freshness), Effect.withSpan("PublishOrder.freshness"))

      return PublishOrder.of({ newerThan, current, fetched, isPublished, freshness })
    })
  )
}
