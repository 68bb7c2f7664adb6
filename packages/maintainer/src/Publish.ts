import { rangeOf } from "@medipim/domain/ChunkPlan"
import type { RunId } from "@medipim/domain/Ids"
import {
  incompleteness,
  nothingToPublish,
  type PublishCounts,
  PublishRefused,
  removalsOff,
  tooManyRejected,
  tooManyRemoved
} from "@medipim/domain/PublishRules"
import type { Manifest } from "@medipim/domain/Snapshot"
import type { StoreError } from "@medipim/domain/SnapshotStore"
import type { PublishRequest, PublishResult } from "@medipim/http-api/MaintainerApi"
import { passingFaults } from "@medipim/platform/Postgres"
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Catalogue, type StagedChanges } from "./Catalogue.ts"
import { type SnapshotBroken, SnapshotReader } from "./SnapshotReader.ts"

/** How often a publish that goes on asks whether it still may. */
const look = "500 millis"

const noCounts: PublishCounts = {
  records: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  stale: 0,
  restored: 0,
  removed: 0,
  rejected: 0,
  duplicates: 0
}

const isNotRunning = (error: { readonly _tag: string; readonly reason?: unknown }): error is PublishRefused =>
  error._tag === "PublishRefused" && error.reason === "not-running"

/** Each record is counted once: as a change, as unchanged, stale or rejected, or as a further line of a product. */
const countsOf = (staged: StagedChanges, records: number, removed: number): PublishCounts => {
  const { inserted, updated, restored, stale, rejected } = staged
  const unchanged = Math.max(0, staged.distinct - staged.stagedRows - stale)
  const duplicates = Math.max(0, staged.known - staged.stagedRows - stale - unchanged)
  return { records, inserted, updated, unchanged, stale, restored, removed, rejected, duplicates }
}

/** Moves a staged run into the catalogue, in one transaction or not at all. */
export class Publish extends Context.Service<
  Publish,
  {
    /** Repeating the call of a run that is published answers what the first one did. */
    readonly run: (
      request: PublishRequest
    ) => Effect.Effect<PublishResult, PublishRefused | StoreError | SnapshotBroken | SqlError>
  }
>()("maintainer/Publish") {
  static readonly layer = Layer.effect(
    Publish,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const catalogue = yield* Catalogue
      const reader = yield* SnapshotReader

      const decideAndWrite = Effect.fnUntraced(function* (request: PublishRequest, manifest: Manifest) {
        const { runId, offset, limit, force, dryRun } = request
        const range = rangeOf(manifest.records, offset ?? 0, limit)
        const records = range.limit
        yield* catalogue.takeTime
        const { running, published } = yield* catalogue.claim(runId)
        if (published !== undefined) return published

        const staged = yield* catalogue.staged(runId, range)
        const keep = removalsOff(staged, manifest, records)
        const removed = keep === undefined ? yield* catalogue.missing(runId) : 0
        const counts = countsOf(staged, records, removed)
        const refuse = (reason: PublishRefused["reason"], message: string) =>
          new PublishRefused({ reason, message: `Nothing was published: ${message}`, counts })

        if (!running) return yield* refuse("not-running", `run ${runId} is not running.`)
        const nothing = nothingToPublish(manifest, records)
        if (nothing !== undefined) return yield* refuse("nothing-to-publish", nothing)
        const incomplete = incompleteness(staged, records)
        if (incomplete !== undefined) return yield* refuse("incomplete-staging", `${incomplete}.`)
        const rejected = tooManyRejected(staged.rejected, records)
        if (rejected !== undefined && force !== true) return yield* refuse("too-many-rejected", rejected)
        const brake = tooManyRemoved(removed, staged.present)
        if (brake !== undefined && force !== true) return yield* refuse("too-many-removed", brake)

        const result: PublishResult = {
          runId,
          published: dryRun !== true,
          counts,
          warnings: keep === undefined ? [] : [`No product was removed: ${keep}.`]
        }
        if (dryRun === true) return result
        yield* catalogue.write(runId)
        if (removed > 0) yield* catalogue.remove(runId)
        yield* catalogue.close(result, manifest.snapshotId)
        if (yield* catalogue.isCancelled(runId)) return yield* refuse("not-running", `run ${runId} was cancelled.`)
        return result
      })

      /** Ends when somebody has asked to stop the run: a write that waits must not keep the row of the run from them. */
      const stopped = Effect.fnUntraced(function* ({ runId, offset, limit }: PublishRequest, manifest: Manifest) {
        yield* catalogue.isCancelled(runId).pipe(
          // A database that is away for a moment is the business of the transaction.
          Effect.orElseSucceed(() => false),
          Effect.repeat({ until: (cancelled) => cancelled, schedule: Schedule.spaced(look) })
        )
        return yield* new PublishRefused({
          reason: "not-running",
          message: `Nothing was published: run ${runId} was cancelled.`,
          counts: { ...noCounts, records: rangeOf(manifest.records, offset ?? 0, limit).limit }
        })
      })

      /** A commit that was on its way when the run was cancelled has won: then the run is published, and not refused. */
      const unlessPublished = (runId: RunId) => (refused: PublishRefused) =>
        sql.withTransaction(catalogue.claim(runId)).pipe(
          Effect.retry(passingFaults),
          Effect.flatMap(({ published }) =>
            published === undefined ? Effect.fail(refused) : Effect.succeed(published)
          )
        )

      const run = Effect.fn("Publish.run")(function* (request: PublishRequest) {
        const manifest = yield* reader.manifest(request.snapshotId)
        return yield* sql
          .withTransaction(decideAndWrite(request, manifest))
          .pipe(
            Effect.retry(passingFaults),
            Effect.raceFirst(stopped(request, manifest)),
            Effect.catchIf(isNotRunning, unlessPublished(request.runId))
          )
      })

      return Publish.of({ run })
    })
  )
}
