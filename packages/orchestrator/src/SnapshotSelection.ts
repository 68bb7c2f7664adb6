import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { SnapshotSummary } from "@medipim/domain/Snapshot"
import { FetcherClient } from "@medipim/http-api/Clients"
import { retryDatabaseOutage, sqlMessage } from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, Effect, Layer, Option } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { MachineWaker } from "./MachineWaker.ts"
import { call, failed, once, SyncFailed } from "./ServiceCalls.ts"

/** A snapshot that no run has published yet is used again while the run that fetched it ended less than an hour ago. */
const freshSeconds = 60 * 60
/** A week of nights: enough to look back, and to publish an earlier state again. */
const keptSnapshots = 7

const noSnapshot = (message: string) => failed("SnapshotNotFound", message)

/** Which of the stored snapshots a run works on, and which are kept. The database knows their order, not their names. */
export class SnapshotSelection extends Context.Service<
  SnapshotSelection,
  {
    /** A fresh snapshot that was not published yet, so that nothing has to be downloaded again. */
    readonly reusable: Effect.Effect<Option.Option<SnapshotSummary>>
    /** The named snapshot, or the newest complete one. */
    readonly choose: (named: SnapshotId | undefined) => Effect.Effect<SnapshotSummary, SyncFailed>
    /** Removes all but the last seven complete snapshots, and those that this run or the catalogue stands on. */
    readonly prune: (runId: RunId) => Effect.Effect<ReadonlyArray<SnapshotId>, SyncFailed>
  }
>()("orchestrator/SnapshotSelection") {
  static readonly layer = Layer.effect(
    SnapshotSelection,
    Effect.gen(function* () {
      const fetcher = yield* FetcherClient
      const records = yield* RunRecords
      const order = yield* PublishOrder
      const waker = yield* MachineWaker

      /** For a step: retries through a database outage. */
      const ask = <A>(question: Effect.Effect<A, SqlError>): Effect.Effect<A, SyncFailed> =>
        retryDatabaseOutage(question).pipe(
          Effect.mapError((error) => new SyncFailed({ code: error._tag, message: sqlMessage(error), retryable: false }))
        )

      const snapshots = call("fetcher", fetcher.snapshots()).pipe(
        Effect.map(({ snapshots }) => snapshots),
        Effect.provideService(MachineWaker, waker)
      )

      /** These in the order in which runs of this database fetched them, newest first; then those that none fetched. */
      const inOrder = Effect.fnUntraced(function* (all: ReadonlyArray<SnapshotSummary>) {
        const fetched = yield* ask(order.fetched(all.map(({ snapshotId }) => snapshotId)))
        const byId = new Map(all.map((one) => [one.snapshotId, one]))
        const known = fetched.flatMap(({ snapshotId, ageSeconds }) => {
          const snapshot = byId.get(snapshotId)
          return snapshot === undefined ? [] : [{ snapshot, ageSeconds }]
        })
        const ids = new Set(fetched.map(({ snapshotId }) => snapshotId))
        return { known, unknown: all.filter(({ snapshotId }) => !ids.has(snapshotId)) }
      })

      const reusable = Effect.gen(function* () {
        const [newest] = (yield* inOrder(yield* snapshots)).known
        if (newest === undefined) return Option.none()
        const { snapshot, ageSeconds } = newest
        // One that was asked for with other settings is of another catalogue.
        if (!snapshot.complete || snapshot.current !== true) return Option.none()
        if (ageSeconds === null || ageSeconds < 0 || ageSeconds > freshSeconds) return Option.none()
        return (yield* ask(order.isPublished(snapshot.snapshotId))) ? Option.none() : Option.some(snapshot)
        // What cannot be listed cannot be used again; it does not keep a new one from being made.
      }).pipe(
        Effect.orElseSucceed(() => Option.none<SnapshotSummary>()),
        Effect.withSpan("SnapshotSelection.reusable")
      )

      const choose = Effect.fn("SnapshotSelection.choose")(function* (named: SnapshotId | undefined) {
        const all = yield* snapshots
        if (named !== undefined) {
          const found = all.find(({ snapshotId }) => snapshotId === named)
          return found ?? (yield* noSnapshot(`There is no snapshot ${named}. The fetcher lists them: GET /snapshots.`))
        }
        const { known, unknown } = yield* inOrder(all.filter(({ complete }) => complete))
        const [newest] = known
        if (newest !== undefined) return newest.snapshot
        const [first] = unknown
        if (first === undefined) {
          return yield* noSnapshot("There is no snapshot to maintain: run a full or a fetch-only sync first.")
        }
        // A new database has published nothing yet: nothing there can be newer.
        if (Option.isNone(yield* ask(order.current))) return first
        return yield* noSnapshot(
          `No run of this database fetched any of the ${unknown.length} snapshots, so nothing shows which of them is the ` +
            `newest. Name one with snapshotId, for example ${first.snapshotId}, or run a full sync.`
        )
      })

      const prune = Effect.fn("SnapshotSelection.prune")(function* (runId: RunId) {
        const { snapshots: stored } = yield* once("fetcher", fetcher.snapshots()).pipe(
          // It may have gone to sleep while the maintainer was at work.
          Effect.tapError(() => waker.wake("fetcher")),
          Effect.retry({ times: 1 })
        )
        // An empty answer of MediPim is stored too, but must not push a catalogue out.
        const { known, unknown } = yield* inOrder(stored.filter(({ complete }) => complete))
        const newest = [...known.map(({ snapshot }) => snapshot), ...unknown].slice(0, keptSnapshots)
        // An empty list proves nothing about what the store holds.
        if (newest.length === 0) return []
        const run = yield* ask(records.find(runId))
        const keep = new Set([
          ...newest.map(({ snapshotId }) => snapshotId),
          ...Option.toArray(yield* ask(order.current)),
          ...Option.toArray(run).flatMap(({ snapshotId }) => snapshotId ?? [])
        ])
        return (yield* once("fetcher", fetcher.prune({ payload: { keep: [...keep] } }))).removed
      })

      return SnapshotSelection.of({ reusable, choose, prune })
    })
  )
}
