import { type RunId, type SnapshotId, timedIdOf } from "@medipim/domain/Ids"
import { noProgress, type Phase, type Progress, Run, type RunFailure, Wait } from "@medipim/domain/Run"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { PublishResult } from "@medipim/http-api/MaintainerApi"
import { SyncRunning } from "@medipim/http-api/OrchestratorApi"
import { answered, changed, passingFaults } from "@medipim/platform/Postgres"
import { Clock, Context, Duration, Effect, Layer, Option, Random, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

const Runs = Schema.Array(Run)
const encodeWaits = Schema.encodeEffect(Schema.fromJsonString(Schema.Array(Wait)))
const States = Schema.Array(
  Schema.Struct({ published: Schema.Boolean, cancelled: Schema.Boolean, overdue: Schema.Boolean })
)
const Results = Schema.Array(PublishResult)

/** The part of a run that is written while it is running. */
export interface Advance {
  readonly phase: Phase
  readonly progress: Progress
  readonly snapshotId: SnapshotId | null
}

/** Whether a run may continue: it may have ended, or exceeded MAX_RUN_DURATION. */
export type RunState = "active" | "over" | "overdue"

export type Ending =
  | { readonly status: "succeeded" }
  | { readonly status: "failed" | "cancelled"; readonly failure: RunFailure }

/** The record of runs that people see; it also decides that one runs at a time. */
export class RunRecords extends Context.Service<
  RunRecords,
  {
    readonly begin: (options: SyncOptions) => Effect.Effect<Run, SyncRunning | SqlError>
    readonly find: (id: string) => Effect.Effect<Option.Option<Run>, SqlError>
    /** Newest first. */
    readonly list: (limit: number) => Effect.Effect<ReadonlyArray<Run>, SqlError>
    readonly running: Effect.Effect<Option.Option<Run>, SqlError>
    /**
     * Active until the run has ended, a cancellation was requested, or it is older than `longest` by the clock of the
     * database; one that has published can no longer be stopped.
     */
    readonly state: (id: RunId, longest: Duration.Duration) => Effect.Effect<RunState, SqlError>
    /**
     * What the run has published, if it has, retrying through any database outage; waits for a publish that is just being
     * committed or taken back.
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
    /**
     * Ends a running run, retrying through any database outage. One that has published can no longer be cancelled, and has
     * succeeded with what it published, whatever happened to the answer of the publish.
     */
    readonly end: (id: RunId, ending: Ending) => Effect.Effect<void, SqlError>
  }
>()("orchestrator/RunRecords") {
  static readonly layer = Layer.effect(
    RunRecords,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const decode = Schema.decodeUnknownEffect(Runs)
      const decodeStates = Schema.decodeUnknownEffect(States)
      const decodeResults = Schema.decodeUnknownEffect(Results)
      const repeat = <A>(effect: Effect.Effect<A, SqlError>) => Effect.retry(answered(effect), passingFaults)
      const repeatChange = <A>(effect: Effect.Effect<A, SqlError>) => Effect.retry(changed(effect), passingFaults)
      const patiently = <A>(effect: Effect.Effect<A, SqlError>) =>
        Effect.retry(changed(effect), { while: passingFaults.while, schedule: Schedule.spaced("2 seconds") })
      const iso = (column: string) =>
        sql.literal(`to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`)
      const columns = sql`id AS "runId", mode, options, status, phase, snapshot_id AS "snapshotId", progress, failure,
        ${iso("started_at")} AS "startTime", ${iso("ended_at")} AS "endTime", published_at IS NOT NULL AS published,
        coalesce((SELECT waits FROM medipim.sync_waits WHERE run_id = id AND status = 'running'), '[]') AS "waitingFor"`
      // A row that does not fit was written by another version: a defect, with the reason in it.
      const runsOf = (rows: ReadonlyArray<object>) => Effect.orDie(decode(rows))
      const first = (rows: ReadonlyArray<object>) => Effect.map(runsOf(rows), (runs) => Option.fromUndefinedOr(runs[0]))

      const running = sql`SELECT ${columns} FROM medipim.sync_runs WHERE status = 'running'`.pipe(
        Effect.flatMap(first),
        repeat
      )

      const begin = Effect.fn("RunRecords.begin")(function* (options: SyncOptions) {
        const id = timedIdOf(yield* Clock.currentTimeMillis, yield* Random.nextIntBetween(0, 0xffffffff))
        const mode = options.mode ?? "full"
        const insert = sql`INSERT INTO medipim.sync_runs (id, mode, options, status, phase, progress, started_at)
          VALUES (${id}, ${mode}, ${JSON.stringify(options)}::jsonb, 'running', 'idle',
            ${JSON.stringify(noProgress)}::jsonb, now())
          ON CONFLICT (status) WHERE status = 'running' DO NOTHING
          RETURNING ${columns}`.pipe(Effect.flatMap(first))
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

      const find = Effect.fn("RunRecords.find")(function* (id: string) {
        return yield* first(yield* sql`SELECT ${columns} FROM medipim.sync_runs WHERE id = ${id}`)
      }, repeat)

      const list = Effect.fn("RunRecords.list")(function* (limit: number) {
        return yield* runsOf(yield* sql`SELECT ${columns} FROM medipim.sync_runs ORDER BY seq DESC LIMIT ${limit}`)
      }, repeat)

      const state = Effect.fn("RunRecords.state")(function* (id: RunId, longest: Duration.Duration) {
        const rows = yield* sql`SELECT published_at IS NOT NULL AS published,
          EXISTS (SELECT FROM medipim.sync_cancellations WHERE run_id = ${id}) AS cancelled,
          now() - started_at > ${Duration.toMillis(longest)}::float8 * interval '1 millisecond' AS overdue
          FROM medipim.sync_runs WHERE id = ${id} AND status = 'running'`
        const [run] = yield* Effect.orDie(decodeStates(rows))
        if (run === undefined || (run.cancelled && !run.published)) return "over"
        return run.overdue && !run.published ? "overdue" : "active"
      }, repeat)

      const published = Effect.fn("RunRecords.published")(function* (id: RunId) {
        const rows = yield* sql`SELECT published_at, result FROM medipim.sync_runs WHERE id = ${id} FOR SHARE`
        const results = rows.filter(({ published_at }) => published_at !== null).map(({ result }) => result)
        return Option.fromUndefinedOr((yield* Effect.orDie(decodeResults(results)))[0])
      }, patiently)

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

      const end = Effect.fn("RunRecords.end")(function* (id: RunId, ending: Ending) {
        const failure = ending.status === "succeeded" ? null : JSON.stringify(ending.failure)
        yield* sql`UPDATE medipim.sync_runs
          SET status = CASE WHEN published_at IS NULL THEN ${ending.status} ELSE 'succeeded' END,
            failure = CASE WHEN published_at IS NULL THEN ${failure}::jsonb END, ended_at = now(), phase = 'idle',
            progress = CASE WHEN published_at IS NOT NULL
              THEN progress || ((result -> 'counts') - 'records') || '{"percent": 100, "etaSeconds": 0}'
              WHEN ${ending.status} = 'succeeded' THEN progress || '{"percent": 100, "etaSeconds": 0}'
              ELSE progress || '{"etaSeconds": null}' END
          WHERE id = ${id} AND status = 'running' AND (published_at IS NULL OR ${ending.status} <> 'cancelled')`
      }, patiently)

      return RunRecords.of({
        begin,
        find,
        list,
        running,
        state,
        wait,
        published,
        requestCancel,
        isNotified,
        markNotified,
        advance,
        end
      })
    })
  )
}
