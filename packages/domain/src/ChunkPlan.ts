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

const isContinued = (part: Part | undefined): boolean => (part?.continuedBytes ?? 0) > 0

/** The parts that hold records of the chunk, with those into which its last record continues: no other part is read. */
export const partsOf = (parts: ReadonlyArray<Part>, chunk: Chunk): ReadonlyArray<Part> => {
  const holds = (part: Part): boolean =>
    part.firstRecord < chunk.offset + chunk.limit && part.firstRecord + part.records > chunk.offset
  const first = parts.findIndex(holds)
  if (first === -1) return []
  let end = parts.findLastIndex(holds) + 1
  while (isContinued(parts[end])) end += 1
  return parts.slice(first, end)
}
