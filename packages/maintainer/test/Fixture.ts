import { createHash } from "node:crypto"
import { gzipSync } from "node:zlib"
import { type RunId, SnapshotId, timedIdOf } from "@medipim/domain/Ids"
import { allStatuses, byCreation } from "@medipim/domain/MediPim"
import { noProgress } from "@medipim/domain/Run"
import { type Manifest, manifestKey, type Part, partKey } from "@medipim/domain/Snapshot"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import * as FolderStore from "@medipim/platform/store/FolderStore"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { ProductTable } from "../src/ProductTable.ts"
import { Publish } from "../src/Publish.ts"
import { RejectedRecords } from "../src/RejectedRecords.ts"
import { Replay } from "../src/Replay.ts"
import { SnapshotReader } from "../src/SnapshotReader.ts"
import { StagingTables } from "../src/StagingTables.ts"

export interface Source {
  readonly id: string
  readonly [key: string]: unknown
}

export const product = (n: number, more: Record<string, unknown> = {}): Source => ({
  id: `M${String(n).padStart(9, "0")}`,
  status: "active",
  name: { en: `Product ${n}` },
  publicPrice: 100 + n,
  meta: {
    createdAt: 1_700_000_000 + n,
    updatedAt: 1_700_000_000 + n,
    embedUrl: `https://signed.example/${Math.random()}`
  },
  ...more
})

/** What makes a line that Postgres cannot store: it is rejected, and tells its product. */
export const unstorable = { note: "a\u0000b" }

export const products = (count: number): ReadonlyArray<Source> => Array.from({ length: count }, (_, n) => product(n))

export const line = (result: unknown, index: number, total: number): string =>
  `${JSON.stringify({ meta: { total, index }, result })}\n`

const temporaryStore = Layer.unwrap(Effect.map(temporaryFolder("snapshots"), FolderStore.layer))

/** The maintainer's services on this database and a store of their own; batches of 10 lines. */
export const servicesOn = <E>(database: Layer.Layer<TestDatabase, E>) =>
  Layer.merge(Publish.layer(new Set(["fred"])), Replay.layer).pipe(
    Layer.provideMerge([ChunkStager.layer(10), RejectedRecords.layer]),
    Layer.provide([StagingTables.layer, ProductTable.layer, SnapshotReader.layer]),
    Layer.provide([PublishOrder.layer, RunRecords.layer]),
    Layer.provide(Migrations.layer),
    Layer.provideMerge(
      Layer.unwrap(
        Effect.map(TestDatabase, ({ url }) =>
          Postgres.layer({ databaseUrl: url, databaseConnections: 4 }, "medipim-maintainer-test")
        )
      )
    ),
    Layer.provide(database),
    Layer.provideMerge(temporaryStore)
  )
export const services = servicesOn(TestDatabase.layer)

let serial = 0
/** Milliseconds by which the clock of the process that makes ids is wrong. */
let clockError = 0
export const setClock = (millis: number) =>
  Effect.sync(() => {
    clockError = millis
  })
const nextId = () => timedIdOf(1_790_000_000_000 + clockError + 1000 * ++serial, serial)

/** Ends the run that goes on, if any, and begins one. */
export const beginRun = Effect.fnUntraced(function* () {
  const sql = yield* SqlClient
  const id = nextId() as RunId
  yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded' WHERE status = 'running'`
  yield* sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at)
    VALUES (${id}, 'full', '{}', 'running', 'staging', ${JSON.stringify(noProgress)}::jsonb, now())`
  return id
})

/** The record of a run that fetched this snapshot: the database knows by it which one is newer. */
const fetchedBefore = (id: SnapshotId) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at, ended_at)
      VALUES (${id}, 'fetch-only', '{}', 'succeeded', 'idle', '{}', now(), now())`
  )

/** A part before it is stored: its bytes, the lines that begin in it, and how many bytes belong to a line before it. */
export interface RawPart {
  readonly raw: Buffer
  readonly records: number
  readonly continuedBytes?: number
}

/** Stores parts as a snapshot, fetched by a run of its own. */
export const writeParts = Effect.fnUntraced(function* (raws: ReadonlyArray<RawPart>, complete = true) {
  const store = yield* SnapshotStore
  const id = SnapshotId.make(nextId())
  yield* fetchedBefore(id)
  const parts: Array<Part> = []
  let first = 0
  for (const { raw, records, continuedBytes } of raws) {
    const stored = gzipSync(raw, { level: 1 })
    const key = partKey(id, parts.length)
    parts.push({
      key,
      firstRecord: first,
      records,
      firstIndex: first,
      lastIndex: Math.max(first, first + records - 1),
      ...(continuedBytes === undefined ? {} : { continuedBytes }),
      bytes: raw.length,
      compressedBytes: stored.length,
      sha256: createHash("sha256").update(stored).digest("hex")
    })
    first += records
    yield* store.put(key, stored, "application/gzip")
  }
  const manifest: Manifest = {
    version: 1,
    snapshotId: id,
    startedAt: "2026-11-23T02:00:00.000Z",
    finishedAt: "2026-11-23T02:10:00.000Z",
    request: { filter: allStatuses, sorting: byCreation },
    total: first,
    records: first,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    compressedBytes: parts.reduce((sum, part) => sum + part.compressedBytes, 0),
    complete,
    parts,
    segments: []
  }
  yield* store.put(manifestKey(id), Buffer.from(JSON.stringify(manifest)), "application/json")
  return id
})

/** Stores lines as a snapshot in parts of seven lines, or of more when these would be more than a dozen. */
export const writeSnapshot = (lines: ReadonlyArray<string>, complete = true) => {
  const linesInPart = Math.max(7, Math.ceil(lines.length / 12))
  return writeParts(
    Array.from({ length: Math.ceil(lines.length / linesInPart) }, (_, n) => {
      const some = lines.slice(n * linesInPart, (n + 1) * linesInPart)
      return { raw: Buffer.from(some.join("")), records: some.length }
    }),
    complete
  )
}

export const snapshotOf = (sources: ReadonlyArray<unknown>) =>
  writeSnapshot(sources.map((source, index) => line(source, index, sources.length)))

export const stageAll = Effect.fnUntraced(function* (runId: RunId, snapshotId: SnapshotId, chunk = 60) {
  const stage = yield* ChunkStager
  for (let offset = 0, more = true; more; offset += chunk) {
    const staged = yield* stage.chunk({ runId, snapshotId, offset, limit: chunk }, () => Effect.void)
    more = staged.hasMore
  }
})

/** A run that is ready to be published. */
export const stagedRun = Effect.fnUntraced(function* (sources: ReadonlyArray<unknown>) {
  const runId = yield* beginRun()
  const snapshotId = yield* snapshotOf(sources)
  yield* stageAll(runId, snapshotId)
  return { runId, snapshotId }
})

/** Forgets the catalogue and what was before. */
export const empty = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`TRUNCATE public.products, medipim.product_changes, medipim.rejected_records`
})

/** A whole sync of these sources. */
export const sync = Effect.fnUntraced(function* (
  sources: ReadonlyArray<unknown>,
  options: { readonly force?: boolean; readonly dryRun?: boolean } = {}
) {
  const { runId, snapshotId } = yield* stagedRun(sources)
  const publish = yield* Publish
  return yield* publish.run({ runId, snapshotId, ...options })
})
