import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { rejectedLimit } from "@medipim/domain/PublishRules"
import type { StoreError } from "@medipim/domain/SnapshotStore"
import { fieldsOf, sumFields, type UnknownField } from "@medipim/domain/UnknownFields"
import { type ChunkCounts, nothingYet, type StageRequest } from "@medipim/http-api/MaintainerApi"
import { PublishOrder } from "@medipim/platform/PublishOrder"
import { Context, Effect, Layer, Option, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { decide, decode, isSame, type Known, type Peeked, peekStoredLine, unchanged, type Winner } from "./Decision.ts"
import { inBatches } from "./LineBatches.ts"
import { showingLocks } from "./LockHolder.ts"
import { type SnapshotBroken, SnapshotReader, type StoredLine } from "./SnapshotReader.ts"
import { type Decided, type RunNotRunning, StagingTables } from "./StagingTables.ts"

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

/** What the records of a chunk turned out to be. */
interface Tally {
  readonly counts: ChunkCounts
  readonly fields: ReadonlyArray<UnknownField>
}

const nothingTallied: Tally = { counts: nothingYet, fields: [] }

/** The fields of these lines that came in an unknown shape. */
export const fieldsIn = (batch: ReadonlyArray<Decided>): ReadonlyArray<UnknownField> =>
  batch.flatMap(({ decision }) => {
    if (decision._tag === "rejected" || decision.unknown.length === 0) return []
    const example = "row" in decision ? decision.row.id : decision.id
    return fieldsOf(decision.unknown).map((field) => ({ field, products: 1, example }))
  })

const add = ({ counts, fields }: Tally, batch: ReadonlyArray<Decided>): Tally => {
  const sum = { ...counts, records: counts.records + batch.length }
  for (const { decision } of batch) sum[decision._tag] += 1
  const found = fieldsIn(batch)
  return { counts: sum, fields: found.length === 0 ? fields : sumFields([...fields, ...found]) }
}

const markUnchanged = (
  batch: ReadonlyArray<Peeked>,
  known: ReadonlyMap<string, Known>
): ReadonlyArray<Decided | Peeked> =>
  batch.map((peeked) => {
    const id = peeked.id
    return id !== undefined && isSame(peeked, known.get(id)) ? { line: peeked.line, decision: unchanged(id) } : peeked
  })

/** Stages chunks: every record of the chunk is decided, and only differences are written. */
export class ChunkStager extends Context.Service<
  ChunkStager,
  {
    readonly chunk: (
      request: StageRequest,
      onProgress: (counts: ChunkCounts) => Effect.Effect<void>
    ) => Effect.Effect<Staged, StageError>
    /** What is to be done with these lines, as the catalogue is now. */
    readonly decide: (
      lines: ReadonlyArray<StoredLine>,
      winner: Winner
    ) => Effect.Effect<ReadonlyArray<Decided>, SqlError>
  }
>()("maintainer/ChunkStager") {
  static readonly layer = (batchSize: number) =>
    Layer.effect(
      ChunkStager,
      Effect.gen(function* () {
        const reader = yield* SnapshotReader
        const order = yield* PublishOrder
        const staging = yield* StagingTables
        const sql = yield* SqlClient

        /** Lines whose id only parsing gives are looked up in a second query; they are rare. */
        const decideBatch = Effect.fnUntraced(function* (lines: ReadonlyArray<StoredLine>, winner: Winner) {
          const peeked = lines.map(peekStoredLine)
          const known = yield* staging.lookupProducts(peeked.flatMap(({ id }) => (id === undefined ? [] : [id])))
          const looked = markUnchanged(peeked, known).map((entry) =>
            "decision" in entry ? entry : { line: entry.line, decoded: decode(entry), peekedId: entry.id }
          )
          const late = looked.flatMap((entry) =>
            "decoded" in entry && entry.decoded._tag === "row" && entry.decoded.row.id !== entry.peekedId
              ? [entry.decoded.row.id]
              : []
          )
          const more = late.length === 0 ? known : new Map([...known, ...(yield* staging.lookupProducts(late))])
          return looked.map((entry): Decided => {
            if ("decision" in entry) return entry
            const { line, decoded } = entry
            const before = decoded._tag === "row" ? more.get(decoded.row.id) : undefined
            return { line, decision: decide(decoded, before, winner) }
          })
        })

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
              Stream.scan(() => nothingTallied, add),
              Stream.tap(({ counts }) => onProgress(counts)),
              Stream.runLast
            )
            const { counts, fields } = tally._tag === "Some" ? tally.value : nothingTallied
            yield* staging.finish(runId, offset, counts, fields)
            const nextOffset = offset + range.limit
            return { counts, nextOffset, hasMore: nextOffset < manifest.records }
          },
          showingLocks(),
          Effect.provideService(SqlClient, sql)
        )

        return ChunkStager.of({ chunk, decide: decideBatch })
      })
    )
}
