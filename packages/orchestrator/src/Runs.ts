import { RunId } from "@medipim/domain/Ids"
import type { Run } from "@medipim/domain/Run"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { type RunEvent, RunNotFound, type SyncRunning } from "@medipim/http-api/OrchestratorApi"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Draining } from "@medipim/platform/process/Draining"
import { Context, Effect, Layer, Option, Schedule, Schema, Stream } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { WorkflowEngine } from "effect/workflow"
import { isDatabaseUnavailable } from "./EngineRetry.ts"
import { Notifier } from "./Notifier.ts"
import { Sync } from "./Sync.ts"

interface Seen {
  readonly last: string
  readonly quiet: number
}

/** Poll interval of a follower, and the polls without a change after which it gets a heartbeat. */
const pollInterval = "500 millis"
const quietPolls = 10

const isRunId = Schema.is(RunId)

/** Poll interval for runs that another process left. */
const recoveryInterval = "30 seconds"

/** Starts, stops and follows runs. */
export class Runs extends Context.Service<
  Runs,
  {
    readonly start: (options: SyncOptions) => Effect.Effect<Run, SyncRunning | SqlError>
    /** Starts the workflow of a run whose row was just inserted. */
    readonly launch: (run: Run) => Effect.Effect<void>
    /** Stops a run; one that has ended or published stays what it is. */
    readonly cancel: (id: string) => Effect.Effect<Run, RunNotFound | SqlError>
    readonly find: (id: string) => Effect.Effect<Run, RunNotFound | SqlError>
    /** Events of a run until it has ended. */
    readonly events: (id: string) => Effect.Effect<Stream.Stream<RunEvent>, RunNotFound | SqlError>
    /** Resumes the run that an earlier process left, if there is one. Failures are logged. */
    readonly recover: Effect.Effect<void>
  }
>()("orchestrator/Runs") {
  static readonly layer = (defaultChunkSize: number) =>
    Layer.effect(
      Runs,
      Effect.gen(function* () {
        /** The chunk size belongs to the run: one that is changed while the run rests must not move its chunks. */
        const payloadOf = ({ runId, startTime, options }: Run) => ({
          runId,
          startedAt: Date.parse(startTime),
          options,
          chunkSize: options.chunkSize ?? defaultChunkSize
        })
        /** The run that this process is known to work on. */
        let currentRunId: string | undefined
        const records = yield* RunRecords
        const notifier = yield* Notifier
        const draining = yield* Draining
        const engine = yield* WorkflowEngine.WorkflowEngine
        const inEngine = Effect.provideService(WorkflowEngine.WorkflowEngine, engine)

        const launch = Effect.fn("Runs.launch")(function* (run: Run) {
          currentRunId = run.runId
          yield* Effect.logInfo(`Sync ${run.runId} starts`, run.options)
          yield* Sync.execute(payloadOf(run), { discard: true }).pipe(
            // The row is committed: the next recovery poll starts it.
            Effect.catchDefect((fault) =>
              isDatabaseUnavailable(fault)
                ? Effect.logWarning(
                    `Sync ${run.runId} could not be started (database unavailable); recovery will retry`,
                    fault
                  )
                : Effect.die(fault)
            )
          )
        }, inEngine)

        const start = Effect.fn("Runs.start")(function* (options: SyncOptions) {
          const run = yield* records.begin(options)
          yield* launch(run)
          return run
          // A disconnecting caller must not leave a row without its workflow.
        }, Effect.uninterruptible)

        const find = Effect.fn("Runs.find")(function* (id: string) {
          const run = isRunId(id) ? yield* records.find(id) : Option.none()
          if (Option.isSome(run)) return run.value
          return yield* new RunNotFound({ runId: id, message: `There is no run ${id}. GET /runs lists them.` })
        })

        const cancel = Effect.fn("Runs.cancel")(function* (id: string) {
          const { runId } = yield* find(id)
          yield* records.requestCancel(runId)
          const failure = { code: "Cancelled", message: "Cancelled by request; nothing was published." } as const
          yield* records.end(runId, { status: "cancelled", failure })
          return yield* find(id)
        })

        const runEvents = (id: string) =>
          Stream.fromEffectSchedule(
            records.find(id).pipe(Effect.orElseSucceed(Option.none)),
            Schedule.spaced(pollInterval)
          ).pipe(
            Stream.mapAccum(
              (): Seen => ({ last: "", quiet: 0 }),
              (seen, found): readonly [Seen, ReadonlyArray<RunEvent>] => {
                const text = JSON.stringify(Option.getOrNull(found))
                if (Option.isSome(found) && found.value.status !== "running") {
                  return [{ last: text, quiet: 0 }, [{ _tag: "Finished", run: found.value }]]
                }
                if (Option.isSome(found) && text !== seen.last) {
                  return [{ last: text, quiet: 0 }, [{ _tag: "Progress", run: found.value }]]
                }
                const quiet = seen.quiet + 1
                return quiet < quietPolls ? [{ ...seen, quiet }, []] : [{ ...seen, quiet: 0 }, [{ _tag: "Heartbeat" }]]
              }
            ),
            Stream.takeUntil((event) => event._tag === "Finished"),
            // The follower asks again, and is answered by the process that comes next.
            Stream.haltWhen(draining.begun)
          )

        const recover = Effect.gen(function* () {
          const left = yield* records.running
          if (Option.isNone(left)) return
          const payload = payloadOf(left.value)
          if (currentRunId !== payload.runId) {
            currentRunId = payload.runId
            yield* Effect.logInfo(`Sync ${payload.runId} was left running by another process: resuming it`)
          }
          // Starts it if the process ended before it did; a run that is known to the engine is not started again.
          const executionId = yield* Sync.execute(payload, { discard: true })
          const result = yield* Sync.poll(executionId)
          if (Option.isSome(result) && result.value._tag === "Complete") {
            yield* records.end(payload.runId, {
              status: "failed",
              failure: { code: "Lost", message: "The run ended without a record of it; the log has the reason." }
            })
            const ended = yield* records.find(payload.runId)
            if (Option.isSome(ended)) yield* Effect.ignore(notifier.send(ended.value), { log: "Warn" })
          }
        }).pipe(
          Effect.withSpan("Runs.recover"),
          inEngine,
          // The engine reports a database outage as a defect.
          Effect.ignoreCause({ log: "Warn" })
        )

        return Runs.of({ start, launch, cancel, find, events: (id) => Effect.as(find(id), runEvents(id)), recover })
      })
    )
  /** Recovers at startup and keeps polling: no run is left behind by a database outage. */
  static readonly recovery = Layer.effectDiscard(
    Effect.flatMap(Runs, ({ recover }) =>
      recover.pipe(Effect.repeat(Schedule.spaced(recoveryInterval)), Effect.forkScoped)
    )
  )
}
