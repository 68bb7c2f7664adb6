import { Failed, Heartbeat } from "@medipim/http-api/Failure"
import { Cause, Effect, Option, Queue, Stream } from "effect"
import { isSqlError } from "effect/sql/SqlError"
import { sqlMessage } from "../database/Postgres.ts"

/** Well below the 60 s after which proxies close a connection that says nothing. */
const heartbeat = "5 seconds"
/** Progress that a slow reader has not taken yet gives way to newer progress; the last event is never dropped. */
const unread = 16

interface JobError {
  readonly _tag: string
  readonly message: string
}

/** With the reason of the database, which the message of its error does not hold. */
const messageOf = (error: JobError): string => (isSqlError(error) ? sqlMessage(error) : error.message)

const failedOf = <E extends JobError>(cause: Cause.Cause<E>, retryable: (error: E) => boolean): Failed =>
  Option.match(Cause.findErrorOption(cause), {
    onSome: (error) =>
      Failed.make({ code: error._tag, message: messageOf(error).slice(0, 2000), retryable: retryable(error) }),
    onNone: () =>
      Failed.make({ code: "Defect", message: "An unexpected error; the log of the service has it.", retryable: false })
  })

/** An error in one line; only a defect shows where it happened. */
const logFailure = (cause: Cause.Cause<JobError>) =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () =>
      Cause.hasInterruptsOnly(cause) ? Effect.logInfo("The job was stopped") : Effect.logError("The job failed", cause),
    onSome: (error) => Effect.logError(`The job failed: ${error._tag}: ${messageOf(error)}`)
  })

/**
 * Runs a job as a stream of events: progress, heartbeats while it is silent, exactly one last event. The job lives
 * and dies with the request: a disconnect interrupts it.
 */
export const jobEvents = <Event, Last, E extends JobError, R>(
  job: (emit: (event: Event) => Effect.Effect<void>) => Effect.Effect<Last, E, R>,
  retryable: (error: E) => boolean,
  /** On every log line of the job. */
  about: Readonly<Record<string, string>>
): Stream.Stream<Event | Last | Failed | typeof Heartbeat.Type, never, R> =>
  Stream.callback<Event | Last | Failed, never, R>(
    (queue) =>
      job((event) => Effect.asVoid(Queue.offer(queue, event))).pipe(
        Effect.tapCause(logFailure),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(failedOf(cause, retryable))
        ),
        Effect.flatMap((last) => Queue.offer(queue, last)),
        Effect.andThen(Queue.end(queue)),
        Effect.annotateLogs(about)
      ),
    { bufferSize: unread, strategy: "sliding" }
  ).pipe(Stream.merge(beats, { haltStrategy: "left" }))

const beats = Stream.tick(heartbeat).pipe(Stream.map(() => Heartbeat.make({})))
