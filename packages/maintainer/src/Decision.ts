import { longestLine } from "@medipim/domain/LineSplitter"
import { decodeProduct, idOf } from "@medipim/domain/Product"
import type { ProductRow, SourceColumn } from "@medipim/domain/ProductColumns"
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
export const peekStoredLine = (line: StoredLine): Peeked => {
  const head = peek(line.bytes)
  if (head?.id === undefined) return { line, id: undefined, lineHash: undefined }
  const isWhole = line.length === line.bytes.length
  return { line, id: head.id, lineHash: isWhole ? fingerprint(line.bytes, head.resultStart) : undefined }
}

/** The columns of a product whose values came in an unknown shape: they keep what is stored. */
interface UnknownColumns {
  readonly unknown: ReadonlyArray<SourceColumn>
}
const noneUnknown: UnknownColumns["unknown"] = []

interface Rejected {
  readonly _tag: "rejected"
  readonly id: string | undefined
  readonly reason: string
}

/** What is to be done with a line. */
export type Decision =
  | (UnknownColumns & { readonly _tag: "unchanged" | "stale"; readonly id: string })
  | (UnknownColumns & {
      readonly _tag: "inserted" | "updated" | "restored"
      readonly row: ProductRow
      readonly lineHash: string | null
    })
  | Rejected

/** A line and what is to be done with it. */
export interface Decided {
  readonly line: StoredLine
  readonly decision: Decision
}

/** True when the bytes are the ones that were stored: nothing more has to be known. */
export const isSame = ({ lineHash }: Peeked, known: Known | undefined): boolean =>
  known !== undefined && !known.removed && lineHash !== undefined && known.line_hash === lineHash

/** The decision for such a line: its product was understood whole when it was stored. */
export const unchanged = (id: string): Decision => ({ _tag: "unchanged", id, unknown: noneUnknown })

export type Decoded =
  | (UnknownColumns & { readonly _tag: "row"; readonly row: ProductRow; readonly lineHash: string | null })
  | Rejected

/** Takes a line apart; what cannot be read or stored is rejected with its reason, and with its id if it has one. */
export const decode = ({ line, id, lineHash }: Peeked): Decoded => {
  const rejected = (reason: string): Rejected => ({ _tag: "rejected", id, reason })
  if (line.length > line.bytes.length) {
    return rejected(`the line has ${line.length} bytes, more than ${longestLine}: it was not read`)
  }
  const parsed = parseLine(line.bytes)
  if (parsed._tag === "Unreadable") return rejected(parsed.reason)
  if (parsed._tag === "SourceError") return rejected(`error line: ${parsed.message}`)
  const product = decodeProduct(parsed.result)
  // What was parsed counts, not the first bytes: without an id of its own the line may be about any product.
  if (Result.isFailure(product)) return { _tag: "rejected", id: idOf(parsed.result), reason: product.failure }
  const { row, unknown } = product.success
  // Without the hash of its line the product is looked at again in every run, until it is understood.
  return { _tag: "row", row, unknown, lineHash: unknown.length === 0 ? (lineHash ?? null) : null }
}

/** Which of two states of a product counts when their content differs. */
export type Winner =
  /** The line: its snapshot was requested after everything that was published. */
  | "line"
  /** What is stored, unless the line says that it is later (`meta.updatedAt`): a newer snapshot was published before. */
  | "stored"

/** Compares by content. A product that comes back is restored whatever its age. */
export const decide = (decoded: Decoded, known: Known | undefined, winner: Winner): Decision => {
  if (decoded._tag === "rejected") return decoded
  const { row, lineHash, unknown } = decoded
  if (known === undefined) return { _tag: "inserted", row, lineHash, unknown }
  if (known.removed) return { _tag: "restored", row, lineHash, unknown }
  if (known.content_hash === row.content_hash) return { _tag: "unchanged", id: row.id, unknown }
  // Nothing shows that a stored product without a time is newer.
  const isLater =
    known.updated_at === null ||
    (row.medipim_updated_at !== null && Date.parse(row.medipim_updated_at) > Date.parse(known.updated_at))
  return winner === "line" || isLater
    ? { _tag: "updated", row, lineHash, unknown }
    : { _tag: "stale", id: row.id, unknown }
}
