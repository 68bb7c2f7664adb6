import { rangeOf } from "@medipim/domain/ChunkPlan"
import type { RunId } from "@medipim/domain/Ids"
import { noOutcomes } from "@medipim/domain/Outcomes"
import {
  type Brakes,
  decidePublish,
  type PublishCounts,
  PublishRefused,
  reasonNotToRemove
} from "@medipim/domain/PublishRules"
import type { Manifest } from "@medipim/domain/Snapshot"
import type { StoreError } from "@medipim/domain/SnapshotStore"
import type { PublishRequest, PublishResult } from "@medipim/http-api/MaintainerApi"
import {
  isOfValues,
  isPassing,
  retryDatabaseOutage,
  sqlFields,
  sqlMessage,
  withoutStatementTimeout
} from "@medipim/platform/database/Postgres"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, Data, Effect, Layer, Option, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { findFailingProduct } from "./Culprit.ts"
import { showingLocks } from "./LockHolder.ts"
import { ProductTable } from "./ProductTable.ts"
import { type SnapshotBroken, SnapshotReader } from "./SnapshotReader.ts"
import { StagingTables } from "./StagingTables.ts"

/** The table refused the rows of a run, for a reason that trying again does not change. */
export class WriteFailed extends Schema.TaggedError<WriteFailed>()("WriteFailed", { detail: Schema.String }) {
  override get message(): string {
    return `public.products and its history could not be written: ${this.detail}`
  }
}

/** What Postgres said to the rows of a run. */
class RowsRefused extends Data.TaggedError("RowsRefused")<{ readonly error: SqlError }> {}

const isSettled = (error: SqlError): boolean => !isPassing(error)

/** Poll interval for a cancellation during a publish. */
const pollInterval = "500 millis"
/** Rows; autovacuum sees to smaller growth in its own time. */
const growthWorthAnalysing = 1000

const isNotRunning = (error: { readonly _tag: string; readonly reason?: unknown }): error is PublishRefused =>
  error._tag === "PublishRefused" && error.reason === "not-running"

const listed = (things: ReadonlyArray<string>): string =>
  things.length === 0 ? "" : ` On the table are: ${things.join(", ")}.`

/** Moves a staged run into the catalogue, in one transaction or not at all. */
export class Publish extends Context.Service<
  Publish,
  {
    /** Repeating the call of a run that is published answers what the first one did. */
    readonly run: (
      request: PublishRequest
    ) => Effect.Effect<PublishResult, PublishRefused | StoreError | SnapshotBroken | SqlError | WriteFailed>
  }
>()("maintainer/Publish") {
  static readonly layer = (toleratedFields: Brakes["toleratedFields"]) =>
    Layer.effect(
      Publish,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const records = yield* RunRecords
        const table = yield* ProductTable
        const reader = yield* SnapshotReader
        const staging = yield* StagingTables
        const scope = yield* Effect.scope

        const write = Effect.fnUntraced(function* (runId: RunId, removed: ReadonlyArray<string>) {
          yield* table.write(runId)
          if (removed.length > 0) yield* table.remove(runId, removed)
          return yield* table.readBack(runId, removed)
        })

        const decideAndWrite = Effect.fnUntraced(function* (request: PublishRequest, manifest: Manifest) {
          const { runId, offset, limit, force = false, dryRun = false } = request
          const range = rangeOf(manifest.records, offset ?? 0, limit)
          const scope = { snapshot: manifest, records: range.limit }
          yield* withoutStatementTimeout(sql)
          const { running, published } = yield* records.lockForPublishing(runId)
          if (published !== undefined) return published

          const staged = yield* staging.facts(runId, manifest.snapshotId, range)
          const removed = reasonNotToRemove(staged, scope) === undefined ? yield* table.missing(runId) : []
          const decision = decidePublish(staged, scope, removed, { force, toleratedFields })
          const { counts } = decision
          const refuse = (reason: PublishRefused["reason"], message: string) =>
            new PublishRefused({ reason, message: `Nothing was published: ${message}`, counts })

          if (!running) return yield* refuse("not-running", `run ${runId} is not running.`)
          if (decision._tag === "Refuse") return yield* refuse(decision.reason, decision.message)
          if (dryRun) return { runId, published: false, counts, warnings: decision.warnings }
          const done = decision.isUpToDate
            ? { unwritten: undefined, warnings: [] }
            : yield* write(runId, removed).pipe(
                Effect.catchIf(isSettled, (error) => Effect.fail(new RowsRefused({ error })))
              )
          if (done.unwritten !== undefined) return yield* refuse("not-written", done.unwritten)
          const result = { runId, published: true, counts, warnings: [...decision.warnings, ...done.warnings] }
          yield* records.recordPublish(result, manifest.snapshotId)
          if (yield* records.isCancelled(runId)) return yield* refuse("not-running", `run ${runId} was cancelled.`)
          return result
        })

        /** Fails once a cancellation was requested: a waiting write must not keep the run row locked. */
        const stopped = Effect.fnUntraced(function* ({ runId, offset, limit }: PublishRequest, manifest: Manifest) {
          yield* records.isCancelled(runId).pipe(
            // An outage is handled by the transaction itself.
            Effect.orElseSucceed(() => false),
            Effect.repeat({ until: (cancelled) => cancelled, schedule: Schedule.spaced(pollInterval) })
          )
          return yield* new PublishRefused({
            reason: "not-running",
            message: `Nothing was published: run ${runId} was cancelled.`,
            counts: { ...noOutcomes, records: rangeOf(manifest.records, offset ?? 0, limit).limit }
          })
        })

        const withLockHolder = (holder: string | undefined, error: SqlError): SqlError | WriteFailed =>
          error.reason._tag === "LockTimeoutError" && holder !== undefined
            ? new WriteFailed({ detail: `${sqlMessage(error)}: ${holder}. Sync again when it is free.` })
            : error

        /** What Postgres said, with the product that it is about. */
        const withFailingProduct =
          (runId: RunId) =>
          ({ error }: RowsRefused) =>
            Effect.gen(function* () {
              const { detail } = sqlFields(error)
              const said = `${sqlMessage(error)}${detail === undefined ? "" : ` (${detail.replace(/\.$/, "")})`}`
              const product = isOfValues(error) ? yield* findFailingProduct(runId) : Option.none()
              const of = Option.match(product, { onNone: () => "", onSome: (id) => `product ${id}: ` })
              const things = yield* table.foreignObjects.pipe(Effect.orElseSucceed((): ReadonlyArray<string> => []))
              return yield* new WriteFailed({ detail: `${of}${said}.${listed(things)}` })
            }).pipe(Effect.provideService(SqlClient, sql), Effect.provideService(ProductTable, table))

        /** If the commit was in flight when the run was cancelled, the publish has won: it is not refused. */
        const unlessPublished = (runId: RunId) => (refused: PublishRefused) =>
          sql.withTransaction(records.lockForPublishing(runId)).pipe(
            retryDatabaseOutage,
            Effect.flatMap(({ published }) =>
              published === undefined ? Effect.fail(refused) : Effect.succeed(published)
            )
          )

        /** What the publish needs no more, and what the next run needs. No caller waits for it, and its failure does no harm. */
        const tidy = Effect.fnUntraced(
          function* (runId: RunId, { inserted, restored }: PublishCounts) {
            yield* staging.empty(runId)
            // Plans that were made for a much smaller table would read all of it for each batch of the next run.
            if (inserted + restored > growthWorthAnalysing) yield* sql`ANALYZE public.products (id)`
          },
          Effect.ignore({ log: "Warn" })
        )

        const run = Effect.fn("Publish.run")(function* (request: PublishRequest) {
          const manifest = yield* reader.manifest(request.snapshotId)
          let holder: string | undefined
          return yield* sql.withTransaction(decideAndWrite(request, manifest)).pipe(
            retryDatabaseOutage,
            showingLocks((found) => {
              holder = found
            }),
            Effect.provideService(SqlClient, sql),
            Effect.catchTags({
              SqlError: (error) => Effect.fail(withLockHolder(holder, error)),
              RowsRefused: withFailingProduct(request.runId)
            }),
            Effect.raceFirst(stopped(request, manifest)),
            Effect.catchIf(isNotRunning, unlessPublished(request.runId)),
            Effect.tap(({ published, counts }) =>
              published ? Effect.forkIn(tidy(request.runId, counts), scope) : Effect.void
            )
          )
        })

        return Publish.of({ run })
      })
    )
}
