import { RunId, SnapshotId } from "@medipim/domain/Ids"
import type { Run } from "@medipim/domain/Run"
import { ChunkSize, Mode, type SyncOptions } from "@medipim/domain/SyncOptions"
import { MaintainerClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Clock, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { layer, Services } from "./Connection.ts"
import { follow } from "./Follow.ts"
import { freshness } from "./Freshness.ts"
import { exitCodes, exitCodesText, Outcome, outcomeOf, shown } from "./Outcome.ts"
import { print, printJson } from "./Print.ts"
import { phaseLine, replayed, runLine, summary } from "./Text.ts"

const asked = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withDescription(description))
const json = asked("json", "print JSON on standard output, and nothing else there")
const runArgument = Argument.String("run").pipe(
  Argument.withDescription("id of a run; default the one that runs, or the last one"),
  Argument.optional
)
const whole = (minimum: number) => Schema.Int.check(Schema.isGreaterThanOrEqualTo(minimum))

const orchestrator = Effect.gen(function* () {
  const client = yield* OrchestratorClient
  const { orchestrator } = yield* Services
  return { client, outcome: outcomeOf(orchestrator) }
})

/** Ends with the code of the run that was followed. */
const finish = Effect.fnUntraced(function* (run: Run, asJson: boolean) {
  yield* asJson ? printJson(run) : print(summary(run))
  if (run.status !== "succeeded") return yield* new Outcome({ message: "", code: exitCodes.failed })
})

/** The run that is meant when none is named. */
const runOrLast = Effect.fnUntraced(function* (named: Option.Option<string>) {
  if (Option.isSome(named)) return named.value
  const { client, outcome } = yield* orchestrator
  const status = yield* client.status().pipe(Effect.mapError(outcome))
  const runId = status.runId ?? status.lastRun?.runId
  return runId ?? (yield* new Outcome({ message: "There has been no run yet.", code: exitCodes.notFound }))
})

const sync = Command.make(
  "sync",
  {
    json,
    mode: Flag.Literals("mode", Mode.literals).pipe(Flag.optional, Flag.withDescription("what to do; default full")),
    chunkSize: Flag.Int("chunk-size").pipe(
      Flag.withSchema(ChunkSize),
      Flag.optional,
      Flag.withDescription("records staged in one call")
    ),
    offset: Flag.Int("offset").pipe(
      Flag.withSchema(whole(0)),
      Flag.optional,
      Flag.withDescription("first record to stage")
    ),
    limit: Flag.Int("limit").pipe(
      Flag.withSchema(whole(1)),
      Flag.optional,
      Flag.withDescription("how many records to stage")
    ),
    snapshotId: Flag.String("snapshot-id").pipe(
      Flag.withSchema(SnapshotId),
      Flag.optional,
      Flag.withDescription("maintain-only: the snapshot to stage")
    ),
    forceRefresh: asked("force-refresh", "download again even if a fresh unpublished snapshot exists"),
    force: asked("force", "publish despite the brakes on removals, rejected lines, unknown shapes and lost values"),
    dryRun: asked("dry-run", "compute the changes without writing them"),
    debug: asked("debug", "log this run in detail"),
    detach: asked("detach", "do not wait for the end of the run")
  },
  Effect.fnUntraced(function* ({
    json,
    detach,
    mode,
    chunkSize,
    offset,
    limit,
    snapshotId,
    forceRefresh,
    force,
    dryRun,
    debug
  }) {
    const { client, outcome } = yield* orchestrator
    const options: SyncOptions = {
      ...Option.match(mode, { onNone: () => ({}), onSome: (mode) => ({ mode }) }),
      ...Option.match(chunkSize, { onNone: () => ({}), onSome: (chunkSize) => ({ chunkSize }) }),
      ...Option.match(offset, { onNone: () => ({}), onSome: (offset) => ({ offset }) }),
      ...Option.match(limit, { onNone: () => ({}), onSome: (limit) => ({ limit }) }),
      ...Option.match(snapshotId, { onNone: () => ({}), onSome: (snapshotId) => ({ snapshotId }) }),
      ...(forceRefresh ? { forceRefresh } : {}),
      ...(force ? { force } : {}),
      ...(dryRun ? { dryRun } : {}),
      ...(debug ? { debug } : {})
    }
    const started = yield* client.sync({ payload: options }).pipe(
      Effect.mapError((error) => {
        const { message, code } = outcome(error)
        const hint = error._tag === "SyncRunning" ? ` ${shown("watch", error.runId)} follows it.` : ""
        return new Outcome({ message: message + hint, code })
      })
    )
    if (detach) return yield* json ? printJson(started) : print([started.runId])
    return yield* finish(yield* follow(started.runId), json)
  })
).pipe(Command.withDescription("Start a sync and follow it to its end"))

const watch = Command.make(
  "watch",
  { json, run: runArgument },
  Effect.fnUntraced(function* ({ json, run }) {
    return yield* finish(yield* follow(yield* runOrLast(run)), json)
  })
).pipe(Command.withDescription("Follow a run to its end; ends with its code"))

const status = Command.make(
  "status",
  { json },
  Effect.fnUntraced(function* ({ json }) {
    const { client, outcome } = yield* orchestrator
    const status = yield* client.status().pipe(Effect.mapError(outcome))
    const state = status.isRunning ? `${phaseLine(status.currentPhase, status.progress)} (${status.runId})` : "idle"
    const text = [
      `now            ${state}`,
      ...(status.waitingFor ?? []).map(({ what, since, reason }) => `waiting for    ${what} since ${since}: ${reason}`),
      ...freshness(status, yield* Clock.currentTimeMillis),
      ...(status.lastRun === null ? [] : [`last run       ${runLine(status.lastRun)}`]),
      ...(status.nextScheduledRun === null ? [] : [`next sync      ${status.nextScheduledRun}`])
    ]
    yield* json ? printJson(status) : print(text)
    if (status.stale) return yield* new Outcome({ message: "", code: exitCodes.stale })
  })
).pipe(Command.withDescription("What the orchestrator is doing, and how old the catalogue is"))

const runs = Command.make(
  "runs",
  {
    json,
    limit: Flag.Int("limit").pipe(Flag.withSchema(whole(1)), Flag.withDefault(20), Flag.withDescription("how many"))
  },
  Effect.fnUntraced(function* ({ json, limit }) {
    const { client, outcome } = yield* orchestrator
    const { runs } = yield* client.runs({ query: { limit } }).pipe(Effect.mapError(outcome))
    yield* json ? printJson(runs) : print(runs.length === 0 ? ["There has been no run yet."] : runs.map(runLine))
  })
).pipe(Command.withDescription("The last runs, newest first"))

const cancel = Command.make(
  "cancel",
  { json, run: runArgument },
  Effect.fnUntraced(function* ({ json, run }) {
    const { client, outcome } = yield* orchestrator
    const id = yield* runOrLast(run)
    const cancelled = yield* client.cancel({ params: { id } }).pipe(Effect.mapError(outcome))
    yield* json ? printJson(cancelled) : print(summary(cancelled))
  })
).pipe(Command.withDescription("Stop a run; nothing of it is published"))

const rejected = Command.make(
  "rejected",
  {
    json,
    runId: Flag.String("run-id").pipe(Flag.withSchema(RunId), Flag.optional, Flag.withDescription("of this run only")),
    reason: Flag.String("reason").pipe(Flag.optional, Flag.withDescription("with this text in the reason")),
    page: Flag.Int("page").pipe(Flag.withSchema(whole(0)), Flag.withDefault(0), Flag.withDescription("counted from 0")),
    size: Flag.Int("size").pipe(Flag.withSchema(whole(1)), Flag.withDefault(20), Flag.withDescription("lines a page"))
  },
  Effect.fnUntraced(function* ({ json, runId, reason, page, size }) {
    const client = yield* MaintainerClient
    const { maintainer } = yield* Services
    const query = {
      page,
      size,
      ...Option.match(runId, { onNone: () => ({}), onSome: (runId) => ({ runId }) }),
      ...Option.match(reason, { onNone: () => ({}), onSome: (reason) => ({ reason }) })
    }
    const answer = yield* client.rejected({ query }).pipe(Effect.mapError(outcomeOf(maintainer)))
    const lines = answer.records.map(
      (one) => `${one.runId}  record ${one.record}  ${one.productId ?? "(no id)"}  ${one.reason}`
    )
    yield* json ? printJson(answer) : print([`${answer.total} rejected lines`, ...lines])
  })
).pipe(Command.withDescription("Rejected records, with the reason; --json shows them whole"))

const replay = Command.make(
  "replay",
  {
    json,
    runId: Flag.String("run-id").pipe(Flag.withSchema(RunId), Flag.optional, Flag.withDescription("of this run only")),
    reason: Flag.String("reason").pipe(Flag.optional, Flag.withDescription("with this text in the reason")),
    dryRun: asked("dry-run", "compute the changes without writing them")
  },
  Effect.fnUntraced(function* ({ json, runId, reason, dryRun }) {
    const client = yield* MaintainerClient
    const { maintainer } = yield* Services
    const payload = {
      dryRun,
      ...Option.match(runId, { onNone: () => ({}), onSome: (runId) => ({ runId }) }),
      ...Option.match(reason, { onNone: () => ({}), onSome: (reason) => ({ reason }) })
    }
    const answer = yield* client.replay({ payload }).pipe(Effect.mapError(outcomeOf(maintainer)))
    yield* json ? printJson(answer) : print(replayed(answer, dryRun))
  })
).pipe(Command.withDescription("Decode rejected lines of the published snapshot again and publish what passes now"))

/** The whole command line. */
export const medipim = Command.make("medipim").pipe(
  Command.withDescription(`Runs and watches syncs of the MediPim catalogue, as ${shown("COMMAND")}. ${exitCodesText}`),
  Command.withSubcommands([sync, watch, status, runs, cancel, rejected, replay]),
  Command.provide(layer)
)
