import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { rejectedLimit } from "@medipim/domain/PublishRules"
import type { StoreError } from "@medipim/domain/SnapshotStore"
import type { ChunkCounts, StageRequest } from "@medipim/http-api/MaintainerApi"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import type { RunNotRunning } from "@medipim/platform/database/RunRecords"
import { Context, Effect, Layer, Option, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Winner } from "./Decision.ts"
import { inBatches } from "./LineBatches.ts"
import { addToTally, decideBatch, emptyTally } from "./LineDecisions.ts"
import { showingLocks } from "./LockHolder.ts"
import { ProductTable } from "./ProductTable.ts"
import { type SnapshotBroken, SnapshotReader, type StoredLine } from "./SnapshotReader.ts"
import { StagingTables } from "./StagingTables.ts"

export interface Staged {
  readonly counts: ChunkCounts
  readonly nextOffset: number
  readonly hasMore: boolean
}

export type StageError = StoreError | SnapshotBroken | SqlError | RunNotRunning

/** Batches of a chunk that are written concurrently. */
const batchesAtOnce = 2

/**
 * Rejected lines whose text a chunk keeps at least. It keeps as many as a whole run may have without `force`; of more, which
 * are refused anyway or read again when they are replayed, the snapshot alone has the text.
 */
const fewestTexts = 100

/** Stages chunks: every record of the chunk is decided, and only differences are written. */
export class ChunkStager extends Context.Service<
  ChunkStager,
  {
    readonly chunk: (
      request: StageRequest,
      onProgress: (counts: ChunkCounts) => Effect.Effect<void>
    ) => Effect.Effect<Staged, StageError>
  }
>()("maintainer/ChunkStager") {
  static readonly layer = (batchSize: number) =>
    Layer.effect(
      ChunkStager,
      Effect.gen(function* () {
        const reader = yield* SnapshotReader
        const order = yield* PublishOrder
        const staging = yield* StagingTables
        const table = yield* ProductTable
        const sql = yield* SqlClient

        const stageBatch = (runId: RunId, snapshotId: SnapshotId, winner: Winner, keepsText: () => boolean) =>
          Effect.fnUntraced(function* (lines: ReadonlyArray<StoredLine>) {
            const batch = yield* decideBatch(lines, winner)
            yield* staging.write(runId, snapshotId, batch, keepsText)
            return batch
          })

        const chunk = Effect.fn("ChunkStager.chunk")(
          function* (
            { runId, snapshotId, offset, limit }: StageRequest,
            onProgress: (counts: ChunkCounts) => Effect.Effect<void>
          ) {
            const manifest = yield* reader.manifest(snapshotId)
            const range: Chunk = { offset, limit: Math.max(0, Math.min(limit, manifest.records - offset)) }
            yield* staging.restart(runId, range)
            yield* staging.deleteStaleStaging
            const winner = Option.isNone(yield* order.newerThan(snapshotId)) ? "line" : "stored"
            let texts = Math.max(fewestTexts, Math.ceil(manifest.records * rejectedLimit))
            const keepsText = () => texts-- > 0
            const tally = yield* reader.lines(manifest, range).pipe(
              inBatches(batchSize),
              Stream.mapEffect(stageBatch(runId, snapshotId, winner, keepsText), { concurrency: batchesAtOnce }),
              Stream.scan(() => emptyTally, addToTally),
              Stream.tap(({ counts }) => onProgress(counts)),
              Stream.runLast
            )
            const { counts, fields } = tally._tag === "Some" ? tally.value : emptyTally
            yield* staging.finish(runId, offset, counts, fields)
            const nextOffset = offset + range.limit
            return { counts, nextOffset, hasMore: nextOffset < manifest.records }
          },
          showingLocks(),
          Effect.provideService(ProductTable, table),
          Effect.provideService(SqlClient, sql)
        )

        return ChunkStager.of({ chunk })
      })
    )
}
