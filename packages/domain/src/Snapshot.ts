import { Schema } from "effect"
import { described } from "./Described.ts"
import { SnapshotId } from "./Ids.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * A stretch of lines of the snapshot, compressed. Lines are whole; only one that is longer than `longestLine` may begin in
 * a part and continue in the next ones.
 */
export const Part = Schema.Struct({
  key: Schema.String,
  /** Place of the first record that begins here, counted from 0 in the snapshot, and how many begin. */
  firstRecord: Count,
  records: Count,
  /** `meta.index` of the first and the last of these lines, as the stream said it. */
  firstIndex: Count,
  lastIndex: Count,
  /** Bytes at the beginning of the part, uncompressed, that belong to a line of an earlier part. */
  continuedBytes: Schema.optionalKey(Count),
  /** Bytes before compression, and as stored. */
  bytes: Count,
  compressedBytes: Count,
  /** Of the stored bytes, 64 hex digits. */
  sha256: Schema.String
})
export type Part = typeof Part.Type

/** One request to the stream that contributed parts: a download without interruption has exactly one. */
export const Segment = Schema.Struct({
  startedAt: Schema.String,
  firstRecord: Count,
  records: Count,
  /** The creation second (unix) from which it asked; `null` for the beginning. */
  from: Schema.NullOr(Count)
})
export type Segment = typeof Segment.Type

/** What was asked of MediPim. */
export const SourceRequest = Schema.Struct({ filter: Schema.Json, sorting: Schema.Json })
export type SourceRequest = typeof SourceRequest.Type

/** A request and the address that it went to. */
export const Asked = Schema.Struct({ ...SourceRequest.fields, url: Schema.optionalKey(Schema.String) })
export type Asked = typeof Asked.Type

/** Resume position of a broken download: the last creation second seen, and the ids of that second received so far. */
export const Cursor = Schema.Struct({ createdAt: Count, ids: Schema.Array(Schema.String) })
export type Cursor = typeof Cursor.Type

/** Written beside a part once its bytes are stored: the part counts from then on, and a download can resume after it. */
export const Sidecar = Schema.Struct({
  ...Part.fields,
  /** What the source announced when the download began, and what was asked. */
  total: Count,
  request: Asked,
  /** The requests so far, up to the end of this part. */
  segments: Schema.NonEmptyArray(Segment),
  /** `null` where resuming would not be safe. */
  cursor: Schema.NullOr(Cursor)
})
export type Sidecar = typeof Sidecar.Type

/** Written last: a snapshot without its manifest does not exist. */
export const Manifest = Schema.Struct({
  version: Schema.Literal(1),
  snapshotId: SnapshotId,
  startedAt: Schema.String,
  finishedAt: Schema.String,
  request: Asked,
  /** What the source announced. Equal to `records` in every manifest; both are kept so that a reader can see it. */
  total: Count,
  records: Count,
  bytes: Count,
  compressedBytes: Count,
  /** False for an empty answer (204): it must never be taken as "everything was removed". */
  complete: Schema.Boolean,
  parts: Schema.Array(Part),
  segments: Schema.Array(Segment)
})
export type Manifest = typeof Manifest.Type

/** A snapshot in lists and events. */
export const SnapshotSummary = Schema.Struct({
  snapshotId: described(SnapshotId, "Identifier of the snapshot: that of the run that fetched it."),
  startedAt: described(Schema.String, "When the download began, ISO 8601 in UTC, by the clock of the fetcher."),
  finishedAt: described(Schema.String, "When the download was complete, ISO 8601 in UTC, by the clock of the fetcher."),
  records: described(Count, "Records in the snapshot."),
  bytes: described(Count, "Bytes before compression."),
  compressedBytes: described(Count, "Bytes as stored."),
  parts: described(Count, "Objects in the store that hold the records."),
  complete: described(Schema.Boolean, "False for an empty answer of the source (204), which is never published."),
  current: Schema.optionalKey(
    described(
      Schema.Boolean,
      "In lists: true when the filter and the address of the source are those of today's settings."
    )
  )
})
export type SnapshotSummary = typeof SnapshotSummary.Type

/** What lists show of a snapshot. */
export const summaryOf = (manifest: Manifest): SnapshotSummary => ({
  snapshotId: manifest.snapshotId,
  startedAt: manifest.startedAt,
  finishedAt: manifest.finishedAt,
  records: manifest.records,
  bytes: manifest.bytes,
  compressedBytes: manifest.compressedBytes,
  parts: manifest.parts.length,
  complete: manifest.complete
})

/** All snapshots live under this prefix of the bucket. */
export const snapshotsPrefix = "snapshots/"
/** The prefix of all objects of a snapshot; ends in `/`. */
export const prefixOf = (id: SnapshotId): string => `${snapshotsPrefix}${id}/`
/** The key of the manifest, which is written last: with it the snapshot is complete. */
export const manifestKey = (id: SnapshotId): string => `${prefixOf(id)}manifest.json`

const partName = (part: number): string => `part-${String(part).padStart(5, "0")}`
/** The key of a part: gzipped NDJSON, counted from 0. */
export const partKey = (id: SnapshotId, part: number): string => `${prefixOf(id)}${partName(part)}.ndjson.gz`
/** The key of the description of a part, from which an interrupted download resumes. */
export const sidecarKey = (id: SnapshotId, part: number): string => `${prefixOf(id)}${partName(part)}.json`
