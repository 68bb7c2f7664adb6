import { makeCreationCursor } from "@medipim/domain/CreationCursor"
import type { SnapshotId } from "@medipim/domain/Ids"
import { makeLineSplitter } from "@medipim/domain/LineSplitter"
import { type Asked, partKey, type Segment, type Sidecar } from "@medipim/domain/Snapshot"
import { makeStreamCheck, StreamBroken } from "@medipim/domain/StreamCheck"
import { Array as Arr } from "effect"
import type { Checkpoint, CutPart } from "./Checkpoints.ts"
import { makePartWriter, type PartWriter } from "./PartWriter.ts"

/** How far a download is. Bytes as the source sent them. */
export interface Progress {
  readonly records: number
  readonly total: number
  readonly bytes: number
  readonly parts: number
}

/** After these what came is whole as far as it goes. The others say that it may not be. */
const goesOn = new Set<StreamBroken["fault"]>(["cut", "connection", "stalled", "source-error"])

/** What was there can be gone on with. */
export const isResumable = ({ fault }: StreamBroken): boolean => goesOn.has(fault)

export interface Cutting {
  readonly snapshotId: SnapshotId
  readonly request: Asked
  /** What earlier requests have brought. */
  readonly before: Checkpoint
  /** When the request of this stream was made. */
  readonly startedAt: string
  /** A part is closed at so many bytes before compression. */
  readonly partBytes: number
}

/**
 * Cuts the checked lines of one stream into parts. Throws `StreamBroken` as soon as the stream cannot be the whole
 * catalogue, or the rest of it that was asked for; then `flush` gives the good lines before that.
 */
export const makeCutter = ({ snapshotId, request, before, startedAt, partBytes }: Cutting) => {
  const splitter = makeLineSplitter()
  const check = makeStreamCheck()
  const cursor = makeCreationCursor(before.cursor)
  let writer: PartWriter = makePartWriter(partBytes)
  let parts = before.parts.length
  let partStart = before.records
  let records = before.records
  let received = before.bytes
  let indexes: readonly [first: number, last: number] | undefined

  /** The announced size of the whole, which the first request of the download was told. */
  const total = () => (before.cursor === null ? check.total() : before.total)
  const broken = (fault: StreamBroken["fault"], detail: string) =>
    new StreamBroken({ fault, detail, received: records, expected: total() })

  /** What is missing, with the last second again: with any other number the catalogue is not the one of before. */
  const expectRest = (): void => {
    if (before.cursor === null) return
    const rest = before.total - before.records + before.cursor.ids.length
    if (check.total() === rest) return
    throw broken("total", `the rest has ${check.total()} records where ${rest} were due: the catalogue has changed`)
  }

  const segment = (): Segment => ({
    startedAt,
    firstRecord: before.records,
    records: records - before.records,
    from: before.cursor?.createdAt ?? null
  })

  const cut = async (): Promise<CutPart> => {
    const { stored, sha256, records: written, bytes } = await writer.close()
    const [firstIndex, lastIndex] = indexes ?? [0, 0]
    const sidecar: Sidecar = {
      key: partKey(snapshotId, parts),
      firstRecord: partStart,
      records: written,
      firstIndex,
      lastIndex,
      bytes,
      compressedBytes: stored.length,
      sha256,
      total: total(),
      request,
      segments: Arr.append(before.segments, segment()),
      cursor: cursor.current()
    }
    parts += 1
    partStart += written
    indexes = undefined
    writer = makePartWriter(partBytes)
    return { stored, sidecar }
  }

  /** The lines that are new, up to the first that breaks the stream. */
  const accept = (lines: ReadonlyArray<Buffer>, kept: Array<Buffer>): void => {
    for (const line of lines) {
      const fault = check.accept(line)
      if (fault !== undefined) throw broken(fault.fault, fault.detail)
      const index = check.received() - 1
      if (index === 0) expectRest()
      if (!cursor.isNew(line)) continue
      kept.push(line)
      records += 1
      indexes = [indexes?.[0] ?? index, index]
    }
    if (splitter.overflow()) throw broken("line-too-long", "a line has no end")
  }

  const take = async (chunk: Uint8Array): Promise<ReadonlyArray<CutPart>> => {
    received += chunk.byteLength
    const kept: Array<Buffer> = []
    try {
      accept(splitter.push(chunk), kept)
    } finally {
      if (kept.length > 0) await writer.add(kept)
    }
    return writer.isFull() ? [await cut()] : []
  }

  const flush = async (): Promise<ReadonlyArray<CutPart>> => (writer.isEmpty() ? [] : [await cut()])

  const finish = (): Promise<ReadonlyArray<CutPart>> => {
    const fault = check.finish(splitter.rest())
    if (fault !== undefined) throw broken(fault.fault, fault.detail)
    if (records !== total()) throw broken("total", "the requests do not add up to what the first one announced")
    return flush()
  }

  const progress = (): Progress => ({ records, total: total(), bytes: received, parts })
  return { take, finish, flush, progress, broken }
}
