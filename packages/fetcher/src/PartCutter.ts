import { makeCreationCursor } from "@medipim/domain/CreationCursor"
import type { SnapshotId } from "@medipim/domain/Ids"
import { type LinePiece, longestOfAll, makeLineSplitter } from "@medipim/domain/LineSplitter"
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

/** Faults after which the lines received so far can be trusted, so the download can resume. */
const resumableFaults = new Set<StreamBroken["fault"]>(["cut", "connection", "stalled", "too-slow", "source-error"])

/** Whether the download can resume after this fault. */
export const isResumable = ({ fault }: StreamBroken): boolean => resumableFaults.has(fault)

export interface CutterOptions {
  readonly snapshotId: SnapshotId
  readonly request: Asked
  /** What earlier requests have brought. */
  readonly before: Checkpoint
  /** When the request of this stream was made. */
  readonly startedAt: string
  /** A part is closed at so many bytes before compression. */
  readonly partBytes: number
}

/** Bytes of a long line that are looked at: its place in the stream stands at its beginning. */
const headBytes = 1024

/**
 * Cuts the checked lines of one stream into parts. Throws `StreamBroken` as soon as the stream cannot be the whole
 * catalogue, or the rest of it that was asked for; then `flush` gives the good lines before that.
 */
export const makePartCutter = ({ snapshotId, request, before, startedAt, partBytes }: CutterOptions) => {
  const splitter = makeLineSplitter()
  const check = makeStreamCheck()
  const cursor = makeCreationCursor(before.cursor)
  let writer: PartWriter = makePartWriter(partBytes)
  let parts = before.parts.length
  let partStart = before.records
  let records = before.records
  let received = before.bytes
  let indexes: readonly [first: number, last: number] | undefined
  /** True from the first piece of a long line to its last. */
  let inLine = false
  /** Bytes of this part that belong to a line of an earlier one; it is still in that line while `isContinued`. */
  let continuedBytes = 0
  let isContinued = false

  /** The announced size of the whole, as the first request of the download announced it. */
  const total = () => (before.cursor === null ? check.total() : before.total)
  const broken = (fault: StreamBroken["fault"], detail: string) =>
    new StreamBroken({ fault, detail, received: records, expected: total() })

  /** A resumed request must announce the missing records and those of the last second, which come again: else the catalogue changed. */
  const checkRemainingTotal = (): void => {
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
      ...(continuedBytes === 0 ? {} : { continuedBytes }),
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
    continuedBytes = 0
    isContinued = inLine
    writer = makePartWriter(partBytes)
    return { stored, sidecar }
  }

  /** Checks the next line, or the beginning of a long one, and whether the download has it already. */
  const isNew = (line: Buffer, isLong: boolean): boolean => {
    const fault = check.accept(line)
    if (fault !== undefined) throw broken(fault.fault, fault.detail)
    const index = check.received() - 1
    if (index === 0) checkRemainingTotal()
    if (isLong) cursor.skip()
    else if (!cursor.isNew(line)) return false
    records += 1
    indexes = [indexes?.[0] ?? index, index]
    return true
  }

  const addPiece = (piece: LinePiece): Promise<void> => {
    if (piece.first) isNew(piece.bytes.subarray(0, headBytes), true)
    inLine = !piece.last
    // With its newline.
    if (isContinued) continuedBytes += piece.bytes.length + (piece.last ? 1 : 0)
    if (piece.last) isContinued = false
    return writer.addPiece(piece)
  }

  /** Adds what is new, up to the first line that breaks the stream. */
  const add = async (found: ReadonlyArray<Buffer | LinePiece>): Promise<void> => {
    let lines: Array<Buffer> = []
    const addLines = async (): Promise<void> => {
      const whole = lines
      lines = []
      if (whole.length > 0) await writer.add(whole)
    }
    try {
      for (const one of found) {
        if (one instanceof Uint8Array) {
          if (isNew(one, false)) lines.push(one)
        } else {
          await addLines()
          await addPiece(one)
        }
      }
    } finally {
      await addLines()
    }
  }

  const take = async (chunk: Uint8Array): Promise<ReadonlyArray<CutPart>> => {
    received += chunk.byteLength
    await add(splitter.push(chunk))
    if (splitter.openBytes() > longestOfAll) {
      throw broken("line-too-long", `a line has no end after ${splitter.openBytes()} bytes`)
    }
    return writer.isFull() ? [await cut()] : []
  }

  const flush = async (): Promise<ReadonlyArray<CutPart>> => (writer.isEmpty() ? [] : [await cut()])

  const finish = (): Promise<ReadonlyArray<CutPart>> => {
    const fault = check.finish(splitter.isOpen())
    if (fault !== undefined) throw broken(fault.fault, fault.detail)
    if (records !== total()) throw broken("total", "the requests do not add up to what the first one announced")
    return flush()
  }

  const progress = (): Progress => ({ records, total: total(), bytes: received, parts })
  return { take, finish, flush, progress, broken }
}
