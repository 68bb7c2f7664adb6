const newline = 0x0a

/**
 * Bytes. Longer lines come in pieces, so that memory does not follow them. Far above any product (5.6 KB on average,
 * docs/reference/medipim-api.md#the-stream).
 */
export const longestLine = 16 * 1024 * 1024
/** Bytes. What has no newline for so long is no stream of lines. */
export const longestOfAll = 256 * 1024 * 1024

/** A stretch of a line that is longer than the limit. */
export interface LinePiece {
  readonly bytes: Buffer
  readonly first: boolean
  readonly last: boolean
}

/**
 * Cuts bytes into lines at `\n` and nowhere else, over any chunking. Blank lines are no lines, and a byte order mark or blanks
 * around a line (a `\r` too) are not part of it: JSON knows none of them. Lines are views of the chunks where they can be.
 */
export interface LineSplitter {
  /** Whole lines that this chunk completes, without their newline, and pieces of longer ones, in order. */
  readonly push: (chunk: Uint8Array) => ReadonlyArray<Buffer | LinePiece>
  /** True while a line has begun and not ended: bytes that end so do not end as NDJSON must. */
  readonly isOpen: () => boolean
  /** Bytes of the line that has begun and not ended. */
  readonly openBytes: () => number
}

/** Space, tab and carriage return. */
const isBlank = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0d || byte === 0x09

const isByteOrderMark = (bytes: Buffer, at: number): boolean =>
  bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf

const withoutLeadingBlanks = (bytes: Buffer): Buffer => {
  let start = 0
  while (true) {
    if (isBlank(bytes[start])) start += 1
    else if (isByteOrderMark(bytes, start)) start += 3
    else return start === 0 ? bytes : bytes.subarray(start)
  }
}

const trimmed = (bytes: Buffer): Buffer => {
  const line = withoutLeadingBlanks(bytes)
  let end = line.length
  while (isBlank(line[end - 1])) end -= 1
  return end === line.length ? line : line.subarray(0, end)
}

/** The beginning of a line whose end is not there yet, in one buffer that doubles: any number of small chunks costs the same. */
const makeOpenLine = () => {
  let buffer = Buffer.alloc(0)
  let length = 0
  return {
    add: (bytes: Buffer): void => {
      if (length + bytes.length > buffer.length) {
        const larger = Buffer.allocUnsafe(2 * (length + bytes.length))
        buffer.copy(larger, 0, 0, length)
        buffer = larger
      }
      length += bytes.copy(buffer, length)
    },
    /** What was added; the next line begins in a buffer of its own. */
    take: (): Buffer => {
      const line = buffer.subarray(0, length)
      buffer = Buffer.alloc(0)
      length = 0
      return line
    },
    isEmpty: () => length === 0
  }
}

/** Splits bytes into lines. A line over `limit` bytes is handed out in pieces as it comes, so memory stays bounded. */
export const makeLineSplitter = (limit = longestLine): LineSplitter => {
  const open = makeOpenLine()
  let openBytes = 0
  let isLong = false

  /** The line has not ended: keeps the bytes, or hands them out once the line is a long one. */
  const grow = (more: Buffer, found: Array<Buffer | LinePiece>): void => {
    const bytes = openBytes === 0 ? withoutLeadingBlanks(more) : more
    openBytes += bytes.length
    if (isLong) found.push({ bytes, first: false, last: false })
    else open.add(bytes)
    if (isLong || openBytes <= limit) return
    isLong = true
    found.push({ bytes: open.take(), first: true, last: false })
  }

  const end = (bytes: Buffer, found: Array<Buffer | LinePiece>): void => {
    if (isLong) found.push({ bytes, first: false, last: true })
    else if (!open.isEmpty()) open.add(bytes)
    const line = isLong ? undefined : trimmed(open.isEmpty() ? bytes : open.take())
    if (line !== undefined && line.length > limit) found.push({ bytes: line, first: true, last: true })
    else if (line !== undefined && line.length > 0) found.push(line)
    openBytes = 0
    isLong = false
  }

  return {
    push: (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      const found: Array<Buffer | LinePiece> = []
      let from = 0
      for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, from)) {
        end(bytes.subarray(from, at), found)
        from = at + 1
      }
      if (from < bytes.length) grow(bytes.subarray(from), found)
      return found
    },
    isOpen: () => openBytes > 0,
    openBytes: () => openBytes
  }
}
