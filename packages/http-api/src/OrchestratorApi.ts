import { RunId } from "@medipim/domain/Ids"
import { Phase, Progress, Run, RunStatus, Wait } from "@medipim/domain/Run"
import { SyncOptions } from "@medipim/domain/SyncOptions"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults } from "./ApiDefaults.ts"
import { Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** One sync runs at a time; `runId` is the one that does. */
export class SyncRunning extends Schema.TaggedError<SyncRunning>()(
  "SyncRunning",
  { runId: RunId, message: Schema.String },
  { httpApiStatus: 409 }
) {}

export class RunNotFound extends Schema.TaggedError<RunNotFound>()(
  "RunNotFound",
  { runId: Schema.String, message: Schema.String },
  { httpApiStatus: 404 }
) {}

export const SyncStarted = Schema.Struct({ runId: RunId, status: RunStatus })

/** Hours after which a catalogue is stale, counted from when its source was asked: a nightly sync and two hours. */
export const freshForHours = 26

/** `GET /status`: the running sync, or the last one. Times are ISO text in UTC. */
export const OrchestratorStatus = Schema.Struct({
  isRunning: Schema.Boolean,
  currentPhase: Phase,
  runId: Schema.NullOr(RunId),
  mode: Schema.NullOr(Run.fields.mode),
  startTime: Schema.NullOr(Schema.String),
  progress: Progress,
  /** What the running sync cannot go on without just now. */
  waitingFor: Schema.optionalKey(Schema.Array(Wait)),
  lastRun: Schema.NullOr(Run),
  lastSuccessAt: Schema.NullOr(Schema.String),
  /** When the source of what is published was asked. Missing while nothing is, or nobody knows. */
  requestedAt: Schema.optionalKey(Schema.String),
  /** True unless that was in the last 26 hours, by the clock of the database. */
  stale: Schema.Boolean,
  /** When the built-in schedule starts the next sync; null without one. */
  nextScheduledRun: Schema.NullOr(Schema.String),
  /** Bytes of each table with its indexes, and of the whole database. */
  sizes: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  uptimeSeconds: Schema.Int
})
export type OrchestratorStatus = typeof OrchestratorStatus.Type

/** Events of a run: its record whenever that changes, then exactly one `Finished`. */
export const RunEvent = Schema.Union([
  Schema.TaggedStruct("Progress", { run: Run }),
  Heartbeat,
  Schema.TaggedStruct("Finished", { run: Run })
])
export type RunEvent = typeof RunEvent.Type

const runIdParam = { id: Schema.String }

export class OrchestratorGroup extends HttpApiGroup.make("orchestrator", { topLevel: true })
  .add(
    HttpApiEndpoint.post("sync", "/sync", {
      payload: [SyncOptions, Schema.Undefined],
      success: SyncStarted.pipe(HttpApiSchema.status(202)),
      error: [SyncRunning, Unavailable]
    }),
    HttpApiEndpoint.get("status", "/status", { success: OrchestratorStatus, error: Unavailable }),
    HttpApiEndpoint.get("runs", "/runs", {
      query: {
        limit: Schema.optionalKey(
          Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 500 }))
        )
      },
      success: Schema.Struct({ runs: Schema.Array(Run) }),
      error: Unavailable
    }),
    HttpApiEndpoint.get("run", "/runs/:id", {
      params: runIdParam,
      success: Run,
      error: [RunNotFound, Unavailable]
    }),
    HttpApiEndpoint.get("events", "/runs/:id/events", {
      params: runIdParam,
      success: HttpApiSchema.StreamNdjson({ schema: RunEvent }),
      error: [RunNotFound, Unavailable]
    }),
    HttpApiEndpoint.post("cancel", "/runs/:id/cancel", {
      params: runIdParam,
      success: Run,
      error: [RunNotFound, Unavailable]
    })
  )
  .middleware(AdminKey) {}

export class OrchestratorApi extends HttpApi.make("medipim-orchestrator")
  .add(SystemGroup)
  .add(OrchestratorGroup)
  .middleware(RequestErrors)
  .annotateMerge(apiDefaults("MediPim AU Sync: orchestrator")) {}
