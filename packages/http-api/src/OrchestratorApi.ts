import { described } from "@medipim/domain/Described"
import { RunId } from "@medipim/domain/Ids"
import { Phase, Progress, Run, RunStatus, Wait } from "@medipim/domain/Run"
import { SyncOptions } from "@medipim/domain/SyncOptions"
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AdminKey } from "./AdminKey.ts"
import { apiDefaults, operation, wholeNumber } from "./ApiDefaults.ts"
import { Heartbeat, Unavailable } from "./Failure.ts"
import { RequestErrors } from "./InvalidRequest.ts"
import { SystemGroup } from "./SystemGroup.ts"

/** One sync runs at a time; `runId` is the one that does. */
export class SyncRunning extends Schema.TaggedError<SyncRunning>()(
  "SyncRunning",
  {
    runId: described(RunId, "The run that is running."),
    message: described(Schema.String, "Which run is running, and what to do.")
  },
  { httpApiStatus: 409 }
) {}

/** No run has this identifier. */
export class RunNotFound extends Schema.TaggedError<RunNotFound>()(
  "RunNotFound",
  {
    runId: described(Schema.String, "The identifier that was asked for."),
    message: described(Schema.String, "That there is no such run.")
  },
  { httpApiStatus: 404 }
) {}

/** The run that `POST /sync` has created. */
export const SyncStarted = Schema.Struct({
  runId: described(RunId, "Identifier of the new run."),
  status: described(RunStatus, "Its status, running.")
})

/** Hours after which a catalogue is stale, counted from when its source was asked: a nightly sync and two hours. */
export const freshForHours = 26

/** `GET /status`: the running sync, or the last one. */
export const OrchestratorStatus = Schema.Struct({
  isRunning: described(Schema.Boolean, "Whether a sync is running."),
  currentPhase: described(Phase, "The step of the running sync; idle without one."),
  runId: described(Schema.NullOr(RunId), "The running sync; null without one."),
  mode: described(Schema.NullOr(Run.fields.mode), "Its mode."),
  startTime: described(Schema.NullOr(Schema.String), "When it began, ISO 8601 in UTC."),
  progress: described(Progress, "Progress of the running sync, or of the last run; all zero before the first."),
  waitingFor: Schema.optionalKey(described(Schema.Array(Wait), "Dependencies that the running sync is waiting for.")),
  lastRun: described(Schema.NullOr(Run), "The last run that has ended."),
  lastSuccessAt: described(
    Schema.NullOr(Schema.String),
    "When a whole snapshot was last published, ISO 8601 in UTC; null if never."
  ),
  requestedAt: Schema.optionalKey(
    described(
      Schema.String,
      "When the newest published snapshot was requested from the source, ISO 8601 in UTC. Missing when that is unknown."
    )
  ),
  stale: described(
    Schema.Boolean,
    `True unless requestedAt is within the last ${freshForHours} hours, by the clock of the database.`
  ),
  nextScheduledRun: described(
    Schema.NullOr(Schema.String),
    "When SYNC_CRON starts the next sync, ISO 8601 in UTC; null without a schedule."
  ),
  sizes: Schema.optionalKey(
    described(
      Schema.Record(Schema.String, Schema.Int),
      "Bytes of each table with its indexes, and of the whole database. Missing while a table is locked."
    )
  ),
  uptimeSeconds: described(Schema.Int, "Seconds since the process started.")
})
export type OrchestratorStatus = typeof OrchestratorStatus.Type

/** Events of a run: its record whenever that changes, then exactly one `Finished`. */
export const RunEvent = Schema.Union([
  Schema.TaggedStruct("Progress", { run: described(Run, "The run as it is now.") }),
  Heartbeat,
  Schema.TaggedStruct("Finished", { run: described(Run, "The run as it ended.") })
])
export type RunEvent = typeof RunEvent.Type

const runIdParam = { id: described(Schema.String, "Identifier of the run.") }

/** The routes of the orchestrator; all need the admin key. */
export class OrchestratorGroup extends HttpApiGroup.make("orchestrator", { topLevel: true })
  .add(
    HttpApiEndpoint.post("sync", "/sync", {
      payload: [SyncOptions, Schema.Undefined],
      success: SyncStarted.pipe(HttpApiSchema.status(202)),
      error: [SyncRunning, Unavailable]
    }).annotateMerge(
      operation(
        "Start a sync",
        "Creates a run and answers before it begins. Options go in the body; an empty body is a full sync. 409 names the " +
          "run that is running already: one runs at a time. Follow the new one with GET /runs/{id}/events."
      )
    ),
    HttpApiEndpoint.get("status", "/status", { success: OrchestratorStatus, error: Unavailable }).annotateMerge(
      operation("Status", "The running sync with its progress, the last run, and how old the catalogue is.")
    ),
    HttpApiEndpoint.get("runs", "/runs", {
      query: {
        limit: Schema.optionalKey(wholeNumber(1, 500, "How many runs to list, 1 to 500; default 20."))
      },
      success: Schema.Struct({ runs: described(Schema.Array(Run), "The runs, newest first.") }),
      error: Unavailable
    }).annotateMerge(operation("List runs", "The last runs, newest first, replays included.")),
    HttpApiEndpoint.get("run", "/runs/:id", {
      params: runIdParam,
      success: Run,
      error: [RunNotFound, Unavailable]
    }).annotateMerge(operation("Get a run", "The run with its progress, or with what it did and how it ended.")),
    HttpApiEndpoint.get("events", "/runs/:id/events", {
      params: runIdParam,
      success: HttpApiSchema.StreamNdjson({ schema: RunEvent }),
      error: [RunNotFound, Unavailable]
    }).annotateMerge(
      operation(
        "Follow a run",
        "NDJSON: Progress whenever the run changes, Heartbeat at least every 10 s, then exactly one Finished. An answer that " +
          "ends without Finished was cut: ask again."
      )
    ),
    HttpApiEndpoint.post("cancel", "/runs/:id/cancel", {
      params: runIdParam,
      success: Run,
      error: [RunNotFound, Unavailable]
    }).annotateMerge(
      operation(
        "Cancel a run",
        "Asks the run to stop. It ends within seconds and publishes nothing, unless its publish has committed already. A run " +
          "that has ended is answered as it is."
      )
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "Runs of the sync." }))
  .middleware(AdminKey) {}

/** Runs syncs, and keeps their history. */
export class OrchestratorApi extends HttpApi.make("medipim-orchestrator")
  .add(SystemGroup)
  .add(OrchestratorGroup)
  .middleware(RequestErrors)
  .annotateMerge(
    apiDefaults(
      "MediPim AU Sync: orchestrator",
      "Starts syncs, reports their progress and keeps their history. Send the admin key in X-ADMIN-KEY."
    )
  ) {}
