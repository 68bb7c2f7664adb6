import type { Cursor } from "./Snapshot.ts"
import { parseLine, peek } from "./StreamLine.ts"

/** `meta` as the source writes it, with the ends of result and line: nothing that lies deeper can end a line so. */
const tail = /"meta":\{"createdAt":(\d{1,12}),"updatedAt":(?:\d+|null)(?:,"embedUrl":"[^"]*")?\}\}\}$/
const tailLength = 1024

interface Key {
  readonly id: string
  readonly createdAt: number
}

/** Which product a line is about and when it was created; `undefined` when the line does not have both. */
export const keyOf = (line: Buffer): Key | undefined => {
  const id = peek(line)?.id
  const createdAt = tail.exec(line.toString("latin1", Math.max(0, line.length - tailLength)))?.[1]
  if (id !== undefined && createdAt !== undefined) return { id, createdAt: Number(createdAt) }
  const parsed = parseLine(line)
  if (parsed._tag !== "Line") return undefined
  const { id: named, meta } = parsed.result
  const time = typeof meta === "object" && meta !== null && "createdAt" in meta ? meta.createdAt : undefined
  return typeof named === "string" && Number.isSafeInteger(time) ? { id: named, createdAt: time as number } : undefined
}

/** A line without a key may belong to the second before it or to the one after it; two seconds on it can be neither. */
const secondsOfDoubt = 2

/**
 * Tracks the resume position of a stream sorted by creation: after a break a second request asks
 * for everything from the last second that was seen, and the products of that second which came already are dropped.
 */
export const makeCreationCursor = (from: Cursor | null) => {
  const again = new Set(from?.ids)
  let ids = new Set(again)
  let second = from?.createdAt ?? -1
  let doubt = 0
  let isSorted = true

  /** A line came whose key is not known. */
  const skip = (): void => {
    doubt = secondsOfDoubt
  }

  return {
    skip,
    /** False for a line that came before the stream broke. */
    isNew: (line: Buffer): boolean => {
      const key = keyOf(line)
      if (key === undefined) {
        skip()
        return true
      }
      if (key.createdAt === from?.createdAt && again.delete(key.id)) return false
      if (key.createdAt < second) isSorted = false
      if (key.createdAt > second) {
        second = key.createdAt
        ids = new Set()
        doubt = Math.max(0, doubt - 1)
      }
      ids.add(key.id)
      return true
    },
    /** The resume position after the lines so far; `null` when resuming would not be safe. */
    current: (): Cursor | null => (isSorted && doubt === 0 && second >= 0 ? { createdAt: second, ids: [...ids] } : null)
  }
}
