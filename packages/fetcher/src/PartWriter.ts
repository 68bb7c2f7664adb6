import { createHash } from "node:crypto"
import { once } from "node:events"
import { createGzip } from "node:zlib"
import type { LinePiece } from "@medipim/domain/LineSplitter"

/** A part is closed when it has one of these sizes: small enough for a retried upload, large enough for few requests. */
const compressedLimit = 4.5 * 1024 * 1024
/** Before compression; the default of `PART_BYTES`. */
export const usualPartBytes = 32 * 1024 * 1024
/** Compression must not be what the download waits for; level 1 takes a third of the time of the default. */
const level = 1

/** The bytes of a part and what its sidecar says of them. */
export interface WrittenPart {
  readonly stored: Buffer
  readonly sha256: string
  /** Lines that begin here. */
  readonly records: number
  /** Before compression. */
  readonly bytes: number
}

export interface PartWriter {
  /** Adds whole lines, each without its newline; resolves when there is room for more. */
  readonly add: (lines: ReadonlyArray<Buffer>) => Promise<void>
  /** Adds a stretch of a long line. */
  readonly addPiece: (piece: LinePiece) => Promise<void>
  readonly isFull: () => boolean
  readonly isEmpty: () => boolean
  readonly close: () => Promise<WrittenPart>
}

const newline = Buffer.from("\n")

/** Compresses lines into one gzip member as they come: only compressed bytes are held. */
export const makePartWriter = (partBytes: number): PartWriter => {
  const gzip = createGzip({ level })
  const hash = createHash("sha256")
  const pieces: Array<Buffer> = []
  let compressed = 0
  let bytes = 0
  let records = 0
  gzip.on("data", (piece: Buffer) => {
    pieces.push(piece)
    hash.update(piece)
    compressed += piece.length
  })
  const write = async (block: Buffer): Promise<void> => {
    bytes += block.length
    if (!gzip.write(block)) await once(gzip, "drain")
  }
  return {
    add: (lines) => {
      records += lines.length
      return write(Buffer.concat(lines.flatMap((line) => [line, newline])))
    },
    addPiece: ({ bytes: piece, first, last }) => {
      if (first) records += 1
      return write(last ? Buffer.concat([piece, newline]) : piece)
    },
    isFull: () => compressed >= compressedLimit || bytes >= partBytes,
    isEmpty: () => bytes === 0,
    close: async () => {
      const ended = once(gzip, "end")
      gzip.end()
      await ended
      return { stored: Buffer.concat(pieces), sha256: hash.digest("hex"), records, bytes }
    }
  }
}
