import { noProgress } from "@medipim/domain/Run"
import { Unavailable } from "@medipim/http-api/Failure"
import { OrchestratorApi } from "@medipim/http-api/OrchestratorApi"
import { orchestratorNeeds } from "@medipim/platform/database/DatabaseNeeds"
import { sqlMessage } from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { databaseCheck, makeReadyz } from "@medipim/platform/http/Readiness"
import { Clock, DateTime, Effect, Layer, Option } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { Notifier } from "./Notifier.ts"
import { Retention } from "./Retention.ts"
import { Runs } from "./Runs.ts"
import { SyncSchedule } from "./SyncSchedule.ts"

const defaultRuns = 20

const systemLayer = HttpApiBuilder.group(
  OrchestratorApi,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const sql = yield* SqlClient
    const readyz = yield* makeReadyz([databaseCheck(sql, orchestratorNeeds)])
    return handlers.handleAll({
      healthz: () => Effect.succeed({ status: "ok" } as const),
      readyz: () => readyz
    })
  })
)

const orUnavailable = <A, E, R>(effect: Effect.Effect<A, E | SqlError, R>) =>
  Effect.mapError(effect, (error) =>
    isSqlError(error) ? new Unavailable({ message: sqlMessage(error) }) : (error as Exclude<E, SqlError>)
  )

/** Refused callers retry; not every attempt is worth a notification. */
const quietMillis = 10 * 60 * 1000

/** Notifies of a requested sync that the database does not let start: a scheduler may not be watched. */
const makeAlarm = Effect.map(Notifier, ({ notifySyncCannotStart }) => {
  let notifiedAt = Number.NEGATIVE_INFINITY
  return (error: SqlError) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now - notifiedAt < quietMillis && now >= notifiedAt) return Effect.void
      notifiedAt = now
      const at = DateTime.formatIso(DateTime.makeUnsafe(now))
      return Effect.asVoid(
        Effect.forkDetach(Effect.ignore(notifySyncCannotStart(at, sqlMessage(error)), { log: "Warn" }))
      )
    })
})

const orchestratorLayer = HttpApiBuilder.group(
  OrchestratorApi,
  "orchestrator",
  Effect.fnUntraced(function* (handlers) {
    const records = yield* RunRecords
    const runs = yield* Runs
    const schedule = yield* SyncSchedule
    const order = yield* PublishOrder
    const retention = yield* Retention
    const alarm = yield* makeAlarm
    const startedAt = yield* Clock.currentTimeMillis

    // Postgres cannot measure a locked table: the state of the run is shown all the same.
    const sizes = retention.sizes.pipe(
      Effect.timeoutOption("2 seconds"),
      Effect.orElseSucceed(() => Option.none())
    )

    const status = Effect.gen(function* () {
      const [last] = yield* records.list(1)
      const { publishedAt, requestedAt, isFresh } = yield* order.freshness
      const now = yield* Clock.currentTimeMillis
      const running = last?.status === "running" ? last : undefined
      return {
        isRunning: running !== undefined,
        currentPhase: running?.phase ?? ("idle" as const),
        runId: running?.runId ?? null,
        mode: running?.mode ?? null,
        startTime: running?.startTime ?? null,
        progress: last?.progress ?? noProgress,
        waitingFor: running?.waitingFor ?? [],
        lastRun: running === undefined ? (last ?? null) : ((yield* records.list(2))[1] ?? null),
        lastSuccessAt: publishedAt,
        ...(requestedAt === null ? {} : { requestedAt }),
        // By the age of what was published: an old snapshot that is published again does not make the catalogue fresh.
        stale: !isFresh,
        nextScheduledRun: Option.getOrNull(yield* schedule.next),
        ...Option.match(yield* sizes, { onNone: () => ({}), onSome: (sizes) => ({ sizes }) }),
        uptimeSeconds: Math.max(0, Math.floor((now - startedAt) / 1000))
      }
    })

    return handlers.handleAll({
      sync: ({ payload }) =>
        runs.start(payload ?? {}).pipe(
          Effect.tapError((error) => (isSqlError(error) ? alarm(error) : Effect.void)),
          Effect.map(({ runId, status }) => ({ runId, status })),
          orUnavailable
        ),
      status: () => orUnavailable(status),
      runs: ({ query }) =>
        records.list(query.limit ?? defaultRuns).pipe(
          Effect.map((runs) => ({ runs })),
          orUnavailable
        ),
      run: ({ params }) => orUnavailable(runs.find(params.id)),
      events: ({ params }) => orUnavailable(runs.events(params.id)),
      cancel: ({ params }) => orUnavailable(runs.cancel(params.id))
    })
  })
)

/** The routes of the orchestrator. */
export const layer = Layer.merge(systemLayer, orchestratorLayer)
