import type { Chunk } from "@medipim/domain/ChunkPlan"
import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { StoreError } from "@medipim/domain/SnapshotStore"
import { type ChunkCounts, nothingYet, type StageRequest } from "@medipim/http-api/MaintainerApi"
import { Context, Effect, Layer, Stream } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { decide, decode, glance, isSame, type Known, type Peeked } from "./Decision.ts"
import { type SnapshotBroken, SnapshotReader, type StoredLine } from "./SnapshotReader.ts"
import { type Decided, type RunNotRunning, Staging } from "./Staging.ts"

export interface Staged {
  readonly counts: ChunkCounts
  readonly nextOffset: number
  readonly hasMore: boolean
}

export type StageError = StoreError | SnapshotBroken | SqlError | RunNotRunning

/** Batches on their way to the database at once, in one chunk. */
const batchesAtOnce = 2

const add = (counts: ChunkCounts, batch: ReadonlyArray<Decided>): ChunkCounts => {
  const sum = { ...counts, records: counts.records + batch.length }
  for (const { decision } of batch) sum[decision._tag] += 1
  return sum
}

const look = (batch: ReadonlyArray<Peeked>, known: ReadonlyMap<string, Known>): ReadonlyArray<Decided | Peeked> =>
  batch.map((peeked) => {
    const id = peeked.id
    return id !== undefined && isSame(peeked, known.get(id))
      ? { line: peeked.line, decision: { _tag: "unchanged", id } }
      : peeked
  })

/** Stages chunks: every record of the chunk is decided, and only differences are written. */
export class Stage extends Context.Service<
  Stage,
  {
    readonly chunk: (
      request: StageRequest,
      onProgress: (counts: ChunkCounts) => Effect.Effect<void>
    ) => Effect.Effect<Staged, StageError>
    /** What is to be done with these lines, as the catalogue is now. */
    readonly decide: (lines: ReadonlyArray<StoredLine>) => Effect.Effect<ReadonlyArray<Decided>, SqlError>
  }
>()("maintainer/Stage") {
  static readonly layer = (batchSize: number) =>
    Layer.effect(
      Stage,
      Effect.gen(function* () {
        const reader = yield* SnapshotReader
        const staging = yield* Staging

        /** Lines whose id only parsing could tell are looked up in a second question; they are rare. */
        const decideBatch = Effect.fnUntraced(function* (lines: ReadonlyArray<StoredLine>) {
          const peeked = lines.map(glance)
          const known = yield* staging.known(peeked.flatMap(({ id }) => (id === undefined ? [] : [id])))
          const looked = look(peeked, known).map((entry) =>
            "decision" in entry ? entry : { line: entry.line, decoded: decode(entry), peekedId: entry.id }
          )
          const late = looked.flatMap((entry) =>
            "decoded" in entry && entry.decoded._tag === "row" && entry.decoded.row.id !== entry.peekedId
              ? [entry.decoded.row.id]
              : []
          )
          const more = late.length === 0 ? known : new Map([...known, ...(yield* staging.known(late))])
          return looked.map((entry): Decided => {
            if ("decision" in entry) return entry
            const { line, decoded } = entry
            return { line, decision: decide(decoded, decoded._tag === "row" ? more.get(decoded.row.id) : undefined) }
          })
        })

        const stageBatch = (runId: RunId, snapshotId: SnapshotId) =>
          Effect.fnUntraced(function* (lines: ReadonlyArray<StoredLine>) {
            const batch = yield* decideBatch(lines)
            yield* staging.write(runId, snapshotId, batch)
            return batch
          })

        const chunk = Effect.fn("Stage.chunk")(function* (
          { runId, snapshotId, offset, limit }: StageRequest,
          onProgress: (counts: ChunkCounts) => Effect.Effect<void>
        ) {
          const manifest = yield* reader.manifest(snapshotId)
          const range: Chunk = { offset, limit: Math.max(0, Math.min(limit, manifest.records - offset)) }
          yield* staging.restart(runId, range)
          yield* staging.sweep(runId)
          const counts = yield* reader.lines(manifest, range).pipe(
            Stream.grouped(batchSize),
            Stream.mapEffect(stageBatch(runId, snapshotId), { concurrency: batchesAtOnce }),
            Stream.scan(() => nothingYet, add),
            Stream.tap(onProgress),
            Stream.runLast
          )
          const total = counts._tag === "Some" ? counts.value : nothingYet
          yield* staging.finish(runId, offset, total)
          const nextOffset = offset + range.limit
          return { counts: total, nextOffset, hasMore: nextOffset < manifest.records }
        })

        return Stage.of({ chunk, decide: decideBatch })
      })
    )
}
