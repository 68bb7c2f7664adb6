import { SnapshotId } from "@medipim/domain/Ids"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

const Current = Schema.Array(Schema.Struct({ snapshotId: SnapshotId }))

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
  }
>()("platform/PublishOrder") {
  static readonly layer = Layer.effect(
    PublishOrder,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const decode = Schema.decodeUnknownEffect(Current)
      const first = (rows: ReadonlyArray<object>) =>
        Effect.map(Effect.orDie(decode(rows)), ([row]) => Option.fromUndefinedOr(row?.snapshotId))

      const newerThan = Effect.fn("PublishOrder.newerThan")(function* (id: SnapshotId) {
        return yield* first(
          yield* sql`SELECT snapshot_id AS "snapshotId" FROM medipim.published_snapshots
            WHERE snapshot_id <> ${id} AND seq > coalesce((SELECT seq FROM medipim.sync_runs WHERE id = ${id}), 0)
            ORDER BY seq DESC LIMIT 1`
        )
      })

      const current = sql`SELECT snapshot_id AS "snapshotId" FROM medipim.published_snapshots
        ORDER BY whole DESC, seq DESC LIMIT 1`.pipe(Effect.flatMap(first), Effect.withSpan("PublishOrder.current"))

      return PublishOrder.of({ newerThan, current })
    })
  )
}
