import type { Part } from "./Snapshot.ts"

/** A range of records `[offset, offset + limit)` of a snapshot, staged in one call. */
export interface Chunk {
  readonly offset: number
  readonly limit: number
}

/** Records a run works on: all of the snapshot, or the range that the options name, cut to what there is. */
export const rangeOf = (records: number, offset: number, limit: number | undefined): Chunk => {
  const start = Math.min(offset, records)
  return { offset: start, limit: Math.min(limit ?? records, records - start) }
}

/** Covers the range with chunks that follow each other: every record is in exactly one. */
export const planChunks = (range: Chunk, chunkSize: number): ReadonlyArray<Chunk> =>
  Array.from({ length: Math.ceil(range.limit / chunkSize) }, (_, i) => ({
    offset: range.offset + i * chunkSize,
    limit: Math.min(chunkSize, range.limit - i * chunkSize)
  }))

/** The parts that hold records of the chunk: no other part is read. */
export const partsOf = (parts: ReadonlyArray<Part>, chunk: Chunk): ReadonlyArray<Part> =>
  parts.filter(
    (part) => part.firstRecord < chunk.offset + chunk.limit && part.firstRecord + part.records > chunk.offset
  )
