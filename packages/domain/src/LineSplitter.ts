const newline = 0x0a

/** Far above any product (5.6 KB on average, medipim-api-v4.md section 0.1), far below what memory allows. */
export const longestLine = 16 * 1024 * 1024

/** Cuts bytes into lines at `\n` and nowhere else, over any chunking. Lines are views of the chunks where they can be. */
export interface LineSplitter {
  /** Whole lines that this chunk completes, without their newline. */
  readonly push: (chunk: Uint8Array) => Array<Buffer>
  /** What stands after the last newline: empty when the bytes ended as NDJSON must. */
  readonly rest: () => Buffer
  /** True when a line grew beyond `longestLine`: nothing that follows can be trusted. */
  readonly overflow: () => boolean
}

export const makeLineSplitter = (): LineSplitter => {
  let pending: Array<Buffer> = []
  let pendingLength = 0
  const join = (): Buffer => {
    const line = pending.length === 1 ? (pending[0] as Buffer) : Buffer.concat(pending)
    pending = []
    pendingLength = 0
    return line
  }
  const keep = (bytes: Buffer): void => {
    pending.push(bytes)
    pendingLength += bytes.length
  }
  return {
    push: (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      const lines: Array<Buffer> = []
      let from = 0
      for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, from)) {
        if (pendingLength === 0) lines.push(bytes.subarray(from, end))
        else {
          keep(bytes.subarray(from, end))
          lines.push(join())
        }
        from = end + 1
      }
      if (from < bytes.length) keep(bytes.subarray(from))
      return lines
    },
    rest: () => (pendingLength === 0 ? Buffer.alloc(0) : join()),
    overflow: () => pendingLength > longestLine
  }
}
