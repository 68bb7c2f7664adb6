import { isUtf8 } from "node:buffer"
import { hash } from "node:crypto"
import { isJsonObject, type Json, type JsonObject, parseExact } from "./CanonicalJson.ts"
import { mappingVersion } from "./ContentHash.ts"
import { printable } from "./Printable.ts"

/** Where a line stands: `{"meta":{"total":N,"index":i},"result":{...}}` (docs/reference/medipim-api.md#the-stream). */
export interface Position {
  readonly total: number
  readonly index: number
}

/** What the first bytes of a line give without parsing it. */
export interface Peek extends Position {
  /** The product id, when the result begins with it and it is printable ASCII, which needs no decoding. */
  readonly id: string | undefined
  /** Byte offset of the result object. */
  readonly resultStart: number
}

const head =
  /^\{"meta":\{"total":(\d{1,15}),"index":(\d{1,15})\},"result":(?:(?=\{"id":"(?! *")([ !#-[\]-~]{1,100})")|(?=\{))/
const headLength = 200

/** Reads the wrapper of a line in the form the source writes. `undefined` means: parse it to know. */
export const peek = (line: Buffer): Peek | undefined => {
  const match = head.exec(line.toString("latin1", 0, headLength))
  return match === null
    ? undefined
    : { total: Number(match[1]), index: Number(match[2]), id: match[3], resultStart: match[0].length }
}

const embedKey = Buffer.from('"embedUrl":"')
const metaKey = Buffer.from('"meta":')
const quote = 0x22
const openBrace = 0x7b
const longestTail = 200
/** What may follow the signed url up to the end of the line: flat members, then the ends of meta, result and wrapper. */
const tailInMeta = /^"(?:,"\w+":(?:\d+|null))*\}\}\}$/
const tailAtTop = /^"(?:,"\w+":(?:\d+|null))*\}\}$/

/** First and last byte of the value of the product's own `embedUrl`, if it stands where the source puts it. */
const embedUrlOf = (line: Buffer, resultStart: number): readonly [number, number] | undefined => {
  const key = line.lastIndexOf(embedKey)
  if (key < resultStart) return undefined
  const start = key + embedKey.length
  const end = line.indexOf(quote, start)
  if (end < 0 || line.length - end > longestTail) return undefined
  const tail = line.toString("latin1", end)
  if (tailAtTop.test(tail)) return [start, end]
  const brace = line.lastIndexOf(openBrace, key)
  const inMeta = tailInMeta.test(tail) && line.subarray(brace - metaKey.length, brace).equals(metaKey)
  return inMeta ? [start, end] : undefined
}

/**
 * Names the exact bytes of a product apart from the two things that differ on every download: the wrapper of the line
 * and the signed `embedUrl`. Equal fingerprints mean equal content, so an unchanged line is never parsed. Different
 * ones mean nothing yet: then the content hash decides.
 */
export const fingerprint = (line: Buffer, resultStart: number): string => {
  const url = embedUrlOf(line, resultStart)
  const kept =
    url === undefined
      ? line.subarray(resultStart)
      : Buffer.concat([line.subarray(resultStart, url[0]), line.subarray(url[1])])
  return `${mappingVersion}:${hash("sha256", kept, "base64url")}`
}

/** A line that was taken apart, or the reason why it could not be. */
export type ParsedLine =
  | { readonly _tag: "Line"; readonly position: Position | undefined; readonly result: JsonObject }
  | { readonly _tag: "SourceError"; readonly message: string }
  | { readonly _tag: "Unreadable"; readonly reason: string; readonly position?: Position | undefined }

const isIndex = (value: Json | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const positionOf = (meta: Json | undefined): Position | undefined =>
  isJsonObject(meta) && isIndex(meta.total) && isIndex(meta.index)
    ? { total: meta.total, index: meta.index }
    : undefined

const sourceErrorOf = (error: Json): string => {
  const text = isJsonObject(error) ? (error.message ?? error.code) : error
  return typeof text === "string" ? printable(text, 500) : "the source sent an error line"
}

/** Takes a line apart. Never throws: bytes that are not UTF-8 and text that is not JSON come back as `Unreadable`. */
export const parseLine = (line: Buffer): ParsedLine => {
  if (!isUtf8(line)) return { _tag: "Unreadable", reason: "not valid UTF-8" }
  let value: Json
  try {
    value = parseExact(line.toString("utf8"))
  } catch (error) {
    return { _tag: "Unreadable", reason: `not valid JSON: ${printable((error as Error).message, 200)}` }
  }
  if (!isJsonObject(value)) return { _tag: "Unreadable", reason: "not a JSON object" }
  if (isJsonObject(value.result)) return { _tag: "Line", position: positionOf(value.meta), result: value.result }
  return value.error === undefined
    ? { _tag: "Unreadable", reason: "no result in the line", position: positionOf(value.meta) }
    : { _tag: "SourceError", message: sourceErrorOf(value.error) }
}
