import { Schema } from "effect"
import { printable } from "./Printable.ts"
import { parseLine, peek } from "./StreamLine.ts"

/** Why a download is not the whole catalogue. */
export const StreamFault = Schema.Literals([
  "cut",
  "gap",
  "total",
  "stalled",
  "too-slow",
  "source-error",
  "not-a-stream",
  "line-too-long",
  "connection"
])

/** The stream broke: nothing of it may be taken for the catalogue. Asking again can help. */
export class StreamBroken extends Schema.TaggedError<StreamBroken>()("StreamBroken", {
  fault: StreamFault,
  /** Lines that came, and how many the source had announced (0 when it never did). */
  received: Schema.Int,
  expected: Schema.Int,
  detail: Schema.String
}) {
  override get message(): string {
    return `The MediPim stream broke (${this.fault}) after ${this.received} of ${this.expected} records: ${this.detail}`
  }
}

/**
 * Follows one stream line by line. A stream is complete when `index` ran 0, 1, 2, ... to `total - 1`, `total` never
 * changed and the last line ended with a newline; nothing else marks its end (docs/reference/medipim-api.md#the-stream).
 *
 * A line that cannot be read keeps its place: its neighbours prove that it was one record, and the maintainer rejects it.
 * The last line has no neighbour: without its place it may be the words with which the source gave up.
 * An error line is the source saying that it failed, so the stream is broken.
 */
export interface StreamCheck {
  /** Takes the next line, or the beginning of one that is too long to be read; a fault ends the check. */
  readonly accept: (line: Buffer) => StreamBroken | undefined
  /** To call when the bytes have ended; `isOpen` is true when a line had begun and not ended. */
  readonly finish: (isOpen: boolean) => StreamBroken | undefined
  readonly received: () => number
  /** The announced number of records, 0 before the first line. */
  readonly total: () => number
  readonly broken: (fault: typeof StreamFault.Type, detail: string) => StreamBroken
}

const excerpt = (line: Buffer): string => JSON.stringify(printable(line.toString("utf8", 0, 120)))

/** A check for one stream, from its first line on. */
export const makeStreamCheck = (): StreamCheck => {
  let received = 0
  let total: number | undefined
  /** The last line, when it did not say where it stands. */
  let unplaced: string | undefined
  const broken: StreamCheck["broken"] = (fault, detail) =>
    new StreamBroken({ fault, received, expected: total ?? 0, detail })

  const acceptUnpeekable = (line: Buffer): StreamBroken | undefined => {
    const parsed = parseLine(line)
    if (parsed._tag === "SourceError") return broken("source-error", parsed.message)
    if (parsed.position !== undefined) return acceptAt(parsed.position.index, parsed.position.total)
    if (total === undefined) return broken("not-a-stream", `the first line is ${excerpt(line)}`)
    if (received >= total) return broken("total", "more lines than announced")
    received += 1
    unplaced = excerpt(line)
    return undefined
  }

  const acceptAt = (index: number, announced: number): StreamBroken | undefined => {
    total ??= announced
    if (announced !== total) return broken("total", `total changed to ${announced} at index ${index}`)
    if (index !== received) return broken("gap", `index ${index} came where ${received} was due`)
    if (received >= total) return broken("total", "more lines than announced")
    received += 1
    unplaced = undefined
    return undefined
  }

  return {
    accept: (line) => {
      const head = peek(line)
      return head === undefined ? acceptUnpeekable(line) : acceptAt(head.index, head.total)
    },
    finish: (isOpen) => {
      if (isOpen) return broken("cut", "the last line has no newline")
      if (total === undefined) return broken("cut", "the answer was empty")
      if (received !== total) return broken("cut", "the stream ended early")
      return unplaced === undefined ? undefined : broken("cut", `the last line is no record: ${unplaced}`)
    },
    received: () => received,
    total: () => total ?? 0,
    broken
  }
}
