import { fieldsOf, sumFields, type UnknownField } from "@medipim/domain/UnknownFields"
import { type ChunkCounts, nothingYet } from "@medipim/http-api/MaintainerApi"
import { Effect } from "effect"
import {
  type Decided,
  type Decoded,
  decide,
  decode,
  isSame,
  type Known,
  type Peeked,
  peekStoredLine,
  unchanged,
  type Winner
} from "./Decision.ts"
import { ProductTable } from "./ProductTable.ts"
import type { StoredLine } from "./SnapshotReader.ts"

/** A line that was compared with what is stored: its bytes are the same, or it was decoded. */
type Compared =
  | { readonly _tag: "Same"; readonly line: StoredLine; readonly id: string }
  | { readonly _tag: "Decoded"; readonly line: StoredLine; readonly decoded: Decoded }

const compare =
  (known: ReadonlyMap<string, Known>) =>
  (peeked: Peeked): Compared => {
    const { line, id } = peeked
    return id !== undefined && isSame(peeked, known.get(id))
      ? { _tag: "Same", line, id }
      : { _tag: "Decoded", line, decoded: decode(peeked) }
  }

/** Ids that only decoding gave; they are rare. */
const lateIds = (compared: ReadonlyArray<Compared>, lookedUp: ReadonlySet<string>): ReadonlyArray<string> =>
  compared.flatMap((entry) =>
    entry._tag === "Decoded" && entry.decoded._tag === "row" && !lookedUp.has(entry.decoded.row.id)
      ? [entry.decoded.row.id]
      : []
  )

const decisionOf =
  (known: ReadonlyMap<string, Known>, winner: Winner) =>
  (entry: Compared): Decided => {
    if (entry._tag === "Same") return { line: entry.line, decision: unchanged(entry.id) }
    const { line, decoded } = entry
    const before = decoded._tag === "row" ? known.get(decoded.row.id) : undefined
    return { line, decision: decide(decoded, before, winner) }
  }

/** Decides what is to be done with these lines, as the catalogue is now: peek, look up, decode what differs, decide. */
export const decideBatch = Effect.fnUntraced(function* (lines: ReadonlyArray<StoredLine>, winner: Winner) {
  const table = yield* ProductTable
  const peeked = lines.map(peekStoredLine)
  const ids = peeked.flatMap(({ id }) => (id === undefined ? [] : [id]))
  const known = yield* table.lookup(ids)
  const compared = peeked.map(compare(known))
  const late = lateIds(compared, new Set(ids))
  const all = late.length === 0 ? known : new Map([...known, ...(yield* table.lookup(late))])
  return compared.map(decisionOf(all, winner))
})

/** How many lines were decided how, and the fields among them that came in an unknown shape. */
export interface Tally {
  readonly counts: ChunkCounts
  readonly fields: ReadonlyArray<UnknownField>
}

export const emptyTally: Tally = { counts: nothingYet, fields: [] }

const unknownFieldsIn = (batch: ReadonlyArray<Decided>): ReadonlyArray<UnknownField> =>
  batch.flatMap(({ decision }) => {
    if (decision._tag === "rejected" || decision.unknown.length === 0) return []
    const example = "row" in decision ? decision.row.id : decision.id
    return fieldsOf(decision.unknown).map((field) => ({ field, products: 1, example }))
  })

export const addToTally = ({ counts, fields }: Tally, batch: ReadonlyArray<Decided>): Tally => {
  const sum = { ...counts, records: counts.records + batch.length }
  for (const { decision } of batch) sum[decision._tag] += 1
  const found = unknownFieldsIn(batch)
  return { counts: sum, fields: found.length === 0 ? fields : sumFields([...fields, ...found]) }
}
