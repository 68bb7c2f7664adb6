import { decodeProduct, idOf, type ProductRow } from "@medipim/domain/Product"
import { fingerprint, parseLine, peek } from "@medipim/domain/StreamLine"
import { Result } from "effect"
import type { StoredLine } from "./SnapshotReader.ts"

/** What the catalogue holds of a product, as far as a decision needs it. */
export interface Known {
  readonly id: string
  readonly content_hash: string
  readonly line_hash: string | null
  /** ISO text. */
  readonly updated_at: string | null
  readonly removed: boolean
}

export interface Peeked {
  readonly line: StoredLine
  readonly id: string | undefined
  readonly lineHash: string | undefined
}

/** First look at a line, without parsing it where its form is the usual one. */
export const glance = (line: StoredLine): Peeked => {
  const head = peek(line.bytes)
  return head === undefined || head.id === undefined
    ? { line, id: undefined, lineHash: undefined }
    : { line, id: head.id, lineHash: fingerprint(line.bytes, head.resultStart) }
}

/** What is to be done with a line. */
export type Decision =
  | { readonly _tag: "unchanged" | "stale"; readonly id: string }
  | { readonly _tag: "inserted" | "updated" | "restored"; readonly row: ProductRow; readonly lineHash: string | null }
  | { readonly _tag: "rejected"; readonly id: string | undefined; readonly reason: string }

/** True when the bytes are the ones that were stored: nothing more has to be known. */
export const isSame = ({ lineHash }: Peeked, known: Known | undefined): boolean =>
  known !== undefined && !known.removed && lineHash !== undefined && known.line_hash === lineHash

export type Decoded =
  | { readonly _tag: "row"; readonly row: ProductRow; readonly lineHash: string | null }
  | { readonly _tag: "rejected"; readonly id: string | undefined; readonly reason: string }

/** Takes a line apart; what cannot be decoded is rejected with its reason, and with its id if it has one. */
export const decode = ({ line, id, lineHash }: Peeked): Decoded => {
  const parsed = parseLine(line.bytes)
  if (parsed._tag === "Unreadable") return { _tag: "rejected", id, reason: parsed.reason }
  if (parsed._tag === "SourceError") return { _tag: "rejected", id, reason: `error line: ${parsed.message}` }
  const product = decodeProduct(parsed.result)
  return Result.isSuccess(product)
    ? { _tag: "row", row: product.success, lineHash: lineHash ?? null }
    : { _tag: "rejected", id: idOf(parsed.result) ?? id, reason: product.failure }
}

/**
 * Compares by content. A product that comes back is restored whatever its age; otherwise an older `meta.updatedAt` than
 * the stored one does not overwrite.
 */
export const decide = (decoded: Decoded, known: Known | undefined): Decision => {
  if (decoded._tag === "rejected") return decoded
  const { row, lineHash } = decoded
  if (known === undefined) return { _tag: "inserted", row, lineHash }
  if (known.removed) return { _tag: "restored", row, lineHash }
  if (known.content_hash === row.content_hash) return { _tag: "unchanged", id: row.id }
  const older =
    known.updated_at !== null &&
    row.medipim_updated_at !== null &&
    Date.parse(row.medipim_updated_at) < Date.parse(known.updated_at)
  return older ? { _tag: "stale", id: row.id } : { _tag: "updated", row, lineHash }
}
