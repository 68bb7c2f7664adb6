import { Stream } from "effect"
import type { StoredLine } from "./SnapshotReader.ts"

/** Bytes of a batch: three times what the usual 500 lines have, and a bound for long ones. A line alone may be longer. */
const largestBatch = 8 * 1024 * 1024

interface Open {
  readonly lines: ReadonlyArray<StoredLine>
  readonly bytes: number
}
const empty: Open = { lines: [], bytes: 0 }

/** Groups lines into batches of at most so many lines and 8 MB. */
export const inBatches =
  (batchSize: number) =>
  <E, R>(lines: Stream.Stream<StoredLine, E, R>): Stream.Stream<ReadonlyArray<StoredLine>, E, R> =>
    lines.pipe(
      Stream.mapAccumArray(
        () => empty,
        (open, more) => {
          const full: Array<ReadonlyArray<StoredLine>> = []
          let batch = [...open.lines]
          let bytes = open.bytes
          for (const line of more) {
            if (batch.length === batchSize || (batch.length > 0 && bytes + line.bytes.length > largestBatch)) {
              full.push(batch)
              batch = []
              bytes = 0
            }
            batch.push(line)
            bytes += line.bytes.length
          }
          return [{ lines: batch, bytes }, full]
        },
        { onHalt: ({ lines }) => (lines.length === 0 ? [] : [lines]) }
      )
    )
