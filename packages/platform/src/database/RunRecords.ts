import { type RunId, type SnapshotId, timedIdOf } from "@medipim/domain/Ids"
import {
  noProgress,
  type Phase,
  type Progress,
  Run,
  type RunFailure,
  type RunMode,
  RunStatus,
  Wait
} from "@medipim/domain/Run"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { PublishResult } from "@medipim/http-api/MaintainerApi"
import { SyncRunning } from "@medipim/http-api/OrchestratorApi"
import { Clock, Context, Duration, Effect, Layer, Option, Random, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, briefRetries, changed, isoTime, retriedOutsideTransaction, rowsAs } from "./Postgres.ts"

const encodeWaits = Schema.encodeEffect(Schema.fromJsonString(Schema.Array(Wait)))
const State = Schema.Struct({ published: Schema.Boolean, cancelled: Schema.Boolean, overdue: Schema.Boolean })
const Locked = Schema.Struct({ status: RunStatus, result: Schema.NullOr(PublishResult) })
const encodeResult = Schema.encodeEffect(Schema.fromJsonString(PublishResult))
/** Runs that are kept however old they are: they order the snapshots that may still be stored. */
const runsKept = 50

/** The part of a run that is written while it is running. */
export interface Advance {
  readonly phase: Phase
  readonly progress: Progress
  readonly snapshotId: SnapshotId | null
}

/** Whether a run may continue: it may have ended, or exceeded MAX_RUN_DURATION. */
export type RunState = "active" | "over" | "overdue"

/** How a run ends. */
export type Ending =
  | { readonly status: "succeeded" }
  | { readonly status: "failed" | "cancelled"; readonly failure: RunFailure }

/** The run was cancelled, has ended or published, or never was. */
export class RunNotRunning extends Schema.TaggedError<RunNotRunning>()("RunNotRunning", { runId: Schema.String }) {
  override get message(): string {
    return `Run ${this.runId} is not running: nothing is staged for it.`
  }
}

/** The row of a run that is about to publish. */
export interface LockedRun {
  /** False once it has ended or a cancellation was requested. */
  readonly running: boolean
  /** What it has published, if it has. */
  readonly published: PublishResult | undefined
}

/**
 * The one owner of `medipim.sync_runs`, `medipim.sync_cancellations` and `medipim.sync_waits`. It decides that one run is
 * running at a time, and what a run may still do. Inside a transaction no method retries: nothing but the whole transaction can
 * be repeated. Outside of one those retry that are safe to repeat.
 */
export class RunRecords extends Context.Service<
  RunRecords,
  {
    readonly begin: (options: SyncOptions, mode?: RunMode) => Effect.Effect<Run, SyncRunning | SqlError>
    readonly find: (id: string) => Effect.Effect<Option.Option<Run>, SqlError>
    /** Newest first. */
    readonly list: (limit: number) => Effect.Effect<ReadonlyArray<Run>, SqlError>
    readonly running: Effect.Effect<Option.Option<Run>, SqlError>

    // May this run still work? The question has one meaning for each of those who ask.

    /**
     * For a step of the sync. Active until the run has ended, a cancellation was requested, or it is older than `longest` by
     * the clock of the database; one that has published can no longer be stopped, and stays active until it ends.
     */
    readonly state: (id: RunId, longest: Duration.Duration) => Effect.Effect<RunState, SqlError>
    /**
     * For staging, in its transaction. Fails once the run has published, too. Until the end of the transaction the run can
     * neither publish nor end; waits for a publish in flight.
     */
    readonly lockForStaging: (id: RunId) => Effect.Effect<void, RunNotRunning | SqlError>
    /**
     * For a publish, in its transaction. Until the end of the transaction nothing else can publish or end the run; a
     * cancellation can be requested meanwhile.
     */
    readonly lockForPublishing: (id: RunId) => Effect.Effect<LockedRun, SqlError>
    /** For a publish under way: true as soon as a cancellation was requested, also while the publish holds the row. */
    readonly isCancelled: (id: RunId) => Effect.Effect<boolean, SqlError>
    /**
     * For those who lost the answer of a publish: what the run has published, if it has. Retries through any database
     * outage, and waits for a publish that is just being committed or rolled back.
     */
    readonly published: (id: RunId) => Effect.Effect<Option.Option<PublishResult>, SqlError>

    /** Requests cancellation of the run, also in the middle of its publish. */
    readonly requestCancel: (id: RunId) => Effect.Effect<void, SqlError>
    readonly isNotified: (id: RunId) => Effect.Effect<boolean, SqlError>
    readonly markNotified: (id: RunId) => Effect.Effect<void, SqlError>
    /** Shows what a running run waits for; nothing any more when the list is empty. */
    readonly wait: (id: RunId, waits: ReadonlyArray<Wait>) => Effect.Effect<void, SqlError>
    /** Does nothing once the run has ended. */
    readonly advance: (id: RunId, advance: Advance) => Effect.Effect<void, SqlError>
    /** Records what the run has published, in the transaction of the publish. */
    readonly recordPublish: (result: PublishResult, snapshotId: SnapshotId) => Effect.Effect<void, SqlError>
    /**
     * Ends a running run, retrying through any database outage. One that has published can no longer be cancelled, and has
     * succeeded with what it published, whatever happened to the answer of the publish.
     */
    readonly end: (id: RunId, ending: Ending) => Effect.Effect<void, SqlError>
    /**
     * Deletes at most `limit` runs that ended more than `days` days ago, oldest first, and returns how many it deleted. The
     * last 50 stay, and so do those that published last and those that fetched what they published: they define what the
     * catalogue stands for.
     */
    readonly deleteOld: (days: number, limit: number) => Effect.Effect<number, SqlError>
  }
>()("platform/RunRecords") {
  static readonly layer = Layer.effect(
    RunRecords,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const repeat = retriedOutsideTransaction(sql, (effect) => Effect.retry(answered(effect), briefRetries))
      const repeatChange = retriedOutsideTransaction(sql, (effect) => Effect.retry(changed(effect), briefRetries))
      const untilAnswered = retriedOutsideTransaction(sql, (effect) =>
        Effect.retry(changed(effect), { while: briefRetries.while, schedule: Schedule.spaced("2 seconds") })
      )
      const iso = (column: string) => sql.literal(isoTime(column))
      const columns = sql`id AS "runId", mode, options, status, phase, snapshot_id AS "snapshotId", progress, failure,
        ${iso("started_at")} AS "startTime", ${iso("ended_at")} AS "endTime", published_at IS NOT NULL AS published,
        coalesce((SELECT waits FROM medipim.sync_waits WHERE run_id = id AND status = 'running'), '[]') AS "waitingFor"`
      const runs = rowsAs(Run)
      const firstRun = (statement: Effect.Effect<ReadonlyArray<object>, SqlError>) =>
        Effect.map(runs(statement), ([run]) => Option.fromUndefinedOr(run))

      const running = sql`SELECT ${columns} FROM medipim.sync_runs WHERE status = 'running'`.pipe(firstRun, repeat)

      const begin = Effect.fn("RunRecords.begin")(function* (
        options: SyncOptions,
        mode: RunMode = options.mode ?? "full"
      ) {
        const id = timedIdOf(yield* Clock.currentTimeMillis, yield* Random.nextIntBetween(0, 0xffffffff))
        const insert = sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at)
          VALUES (${id}, ${mode}, ${JSON.stringify(options)}::jsonb, 'running', 'idle',
            ${JSON.stringify(noProgress)}::jsonb, now())
          ON CONFLICT (status) WHERE status = 'running' DO NOTHING
          RETURNING ${columns}`.pipe(firstRun)
        while (true) {
          const made = yield* insert
          if (Option.isSome(made)) return made.value
          const other = yield* running
          // None: the other one ended between the two questions.
          if (Option.isNone(other)) continue
          const { runId } = other.value
          return yield* new SyncRunning({ runId, message: `Sync ${runId} is running; wait for it or cancel it.` })
        }
      })

      const find = Effect.fn("RunRecords.find")(
        (id: string) => firstRun(sql`SELECT ${columns} FROM medipim.sync_runs WHERE id = ${id}`),
        repeat
      )

      const list = Effect.fn("RunRecords.list")(
        (limit: number) => runs(sql`SELECT ${columns} FROM medipim.sync_runs ORDER BY seq DESC LIMIT ${limit}`),
        repeat
      )

      const state = Effect.fn("RunRecords.state")(function* (id: RunId, longest: Duration.Duration) {
        const [run] = yield* sql`SELECT published_at IS NOT NULL AS published,
          EXISTS (SELECT FROM medipim.sync_cancellations WHERE run_id = ${id}) AS cancelled,
          now() - started_at > ${Duration.toMillis(longest)}::float8 * interval '1 millisecond' AS overdue
          FROM medipim.sync_runs WHERE id = ${id} AND status = 'running'`.pipe(rowsAs(State))
        if (run === undefined || (run.cancelled && !run.published)) return "over"
        return run.overdue && !run.published ? "overdue" : "active"
      }, repeat)

      const lockForStaging = Effect.fn("RunRecords.lockForStaging")(function* (runId: RunId) {
        const rows = yield* sql`SELECT FROM medipim.sync_runs
          WHERE id = ${runId} AND status = 'running' AND published_at IS NULL
            AND NOT EXISTS (SELECT FROM medipim.sync_cancellations WHERE run_id = ${runId})
          FOR SHARE`
        if (rows.length === 0) return yield* new RunNotRunning({ runId })
      })

      const isCancelled = Effect.fn("RunRecords.isCancelled")(function* (id: RunId) {
        return (yield* sql`SELECT FROM medipim.sync_cancellations WHERE run_id = ${id}`).length > 0
      })

      const lockedRun = Effect.fnUntraced(function* (id: RunId, lock: "NO KEY UPDATE" | "SHARE") {
        const [run] = yield* sql`SELECT status, CASE WHEN published_at IS NOT NULL THEN result END AS result
          FROM medipim.sync_runs WHERE id = ${id} FOR ${sql.literal(lock)}`.pipe(rowsAs(Locked))
        return run
      })

      const lockForPublishing = Effect.fn("RunRecords.lockForPublishing")(function* (id: RunId) {
        // Without the key: a cancellation references this row, and must get in during the publish.
        const run = yield* lockedRun(id, "NO KEY UPDATE")
        const running = run?.status === "running" && !(yield* isCancelled(id))
        return { running, published: run?.result ?? undefined }
      })

      const published = Effect.fn("RunRecords.published")(
        (id: RunId) => Effect.map(lockedRun(id, "SHARE"), (run) => Option.fromNullishOr(run?.result)),
        untilAnswered
      )

      const requestCancel = Effect.fn("RunRecords.requestCancel")(function* (id: RunId) {
        yield* sql`INSERT INTO medipim.sync_cancellations (run_id) VALUES (${id}) ON CONFLICT DO NOTHING`
      }, repeatChange)

      const isNotified = Effect.fn("RunRecords.isNotified")(function* (id: RunId) {
        return (yield* sql`SELECT FROM medipim.sync_runs WHERE id = ${id} AND notified_at IS NOT NULL`).length > 0
      }, repeat)

      const markNotified = Effect.fn("RunRecords.markNotified")(function* (id: RunId) {
        yield* sql`UPDATE medipim.sync_runs SET notified_at = now() WHERE id = ${id}`
      }, repeatChange)

      const wait = Effect.fn("RunRecords.wait")(
        function* (id: RunId, waits: ReadonlyArray<Wait>) {
          if (waits.length === 0) return yield* sql`DELETE FROM medipim.sync_waits WHERE run_id = ${id}`
          const text = yield* Effect.orDie(encodeWaits(waits))
          return yield* sql`INSERT INTO medipim.sync_waits (run_id, waits) VALUES (${id}, ${text}::jsonb)
          ON CONFLICT (run_id) DO UPDATE SET waits = EXCLUDED.waits`
        },
        changed,
        Effect.asVoid
      )

      const advance = Effect.fn("RunRecords.advance")(function* (id: RunId, { phase, progress, snapshotId }: Advance) {
        yield* sql`UPDATE medipim.sync_runs
          SET phase = ${phase}, progress = ${JSON.stringify(progress)}::jsonb, snapshot_id = ${snapshotId}
          WHERE id = ${id} AND status = 'running'`
      }, repeatChange)

      const recordPublish = Effect.fn("RunRecords.recordPublish")(function* (
        result: PublishResult,
        snapshotId: SnapshotId
      ) {
        const text = yield* Effect.orDie(encodeResult(result))
        yield* sql`UPDATE medipim.sync_runs SET result = ${text}::jsonb, published_at = now(), snapshot_id = ${snapshotId}
          WHERE id = ${result.runId}`
      })

      const end = Effect.fn("RunRecords.end")(function* (id: RunId, ending: Ending) {
        const failure = ending.status === "succeeded" ? null : JSON.stringify(ending.failure)
        yield* sql`UPDATE medipim.sync_runs
          SET status = CASE WHEN published_at IS NULL THEN ${ending.status} ELSE 'succeeded' END,
            failure = CASE WHEN published_at IS NULL THEN ${failure}::jsonb END, ended_at = clock_timestamp(),
            phase = 'idle',
            progress = CASE WHEN published_at IS NOT NULL
              THEN progress || ((result -> 'counts') - 'records') || '{"percent": 100, "etaSeconds": 0}'
              WHEN ${ending.status} = 'succeeded' THEN progress || '{"percent": 100, "etaSeconds": 0}'
              ELSE progress || '{"etaSeconds": null}' END
          WHERE id = ${id} AND status = 'running' AND (published_at IS NULL OR ${ending.status} <> 'cancelled')`
      }, untilAnswered)

      const deleteOld = Effect.fn("RunRecords.deleteOld")(function* (days: number, limit: number) {
        const deleted = yield* sql`DELETE FROM medipim.sync_runs WHERE id IN (
            SELECT id FROM medipim.sync_runs
            WHERE ended_at < now() - ${`${days} days`}::interval AND status <> 'running'
              AND id NOT IN (SELECT id FROM medipim.sync_runs ORDER BY seq DESC LIMIT ${runsKept})
              AND id NOT IN (
                SELECT unnest(array[run_id, snapshot_id]) FROM (
                  (SELECT run_id, snapshot_id FROM medipim.published_snapshots ORDER BY seq DESC LIMIT 1) UNION ALL
                  (SELECT run_id, snapshot_id FROM medipim.published_snapshots WHERE whole ORDER BY seq DESC LIMIT 1)
                  UNION ALL
                  (SELECT run_id, snapshot_id FROM medipim.published_snapshots WHERE whole ORDER BY run_seq DESC LIMIT 1)
                ) AS last
              )
            ORDER BY seq LIMIT ${limit}
          ) RETURNING 1`
        return deleted.length
      })

      return RunRecords.of({
        begin,
        find,
        list,
        running,
        state,
        lockForStaging,
        lockForPublishing,
        isCancelled,
        published,
        requestCancel,
        isNotified,
        markNotified,
        wait,
        advance,
        recordPublish,
        end,
        deleteOld
      })
    })
  )
}
