import { type PublishRefused, RefusalReason } from "@medipim/domain/PublishRules"
import { type FailureCode, failureOf, ReceivedFailureCode } from "@medipim/domain/Run"
import type { Failed } from "@medipim/http-api/Failure"
import { retryOutage } from "@medipim/platform/process/Outage"
import { type Duration, Effect, Option, Schedule, Schema, Stream } from "effect"
import { MachineWaker, type ServiceName } from "./MachineWaker.ts"

/** Why a run ended without success: `code` is the tag of the error that ended it. */
export class SyncFailed extends Schema.TaggedError<SyncFailed>()("SyncFailed", {
  code: ReceivedFailureCode,
  message: Schema.String,
  retryable: Schema.Boolean,
  /** Of a refused publish. */
  reason: Schema.optionalKey(RefusalReason)
}) {}

export const failed = (code: FailureCode, message: string) =>
  Effect.fail(new SyncFailed({ code, message, retryable: false }))

/** Services send something every 5 s; after this silence the connection is taken for lost. */
const silence = "45 seconds"

/** Longer than elsewhere: a service that restarts, is deployed or wakes up takes its time. */
const pauses = Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("10 seconds")]).pipe(Schedule.jittered)

interface CallError {
  readonly _tag: string
  readonly message: string
  readonly retryable?: boolean
  readonly code?: string
}

/** The same call can succeed later: nothing answered, or the service is busy with an earlier call of ours. */
const passing = new Set(["HttpClientError", "Busy", "Unavailable"])

const callFailed =
  (service: string) =>
  (error: CallError): SyncFailed =>
    new SyncFailed({
      ...failureOf(
        error.code ?? error._tag,
        error._tag === "HttpClientError" ? `The ${service} cannot be reached: ${error.message}` : error.message
      ),
      retryable: passing.has(error._tag) && error.retryable !== false,
      ...(error._tag === "PublishRefused" ? { reason: (error as PublishRefused).reason } : {})
    })

const lost = (service: string) =>
  Effect.fail(
    new SyncFailed({ code: "ConnectionLost", message: `The connection to the ${service} was lost.`, retryable: true })
  )

/** A try that is not answered in this time is a lost connection. */
const inTime = (service: string, timeout: Duration.Input) =>
  Effect.timeoutOrElse({ duration: timeout, orElse: () => lost(service) })

/** An unreachable service may be asleep. */
const unreached = new Set<FailureCode>(["HttpClientError", "ConnectionLost"])

/**
 * Retries while the service is unavailable, for as long as any outage, after waking its machine. The service itself retries what
 * it depends on.
 */
const retryServiceOutage =
  (service: ServiceName) =>
  <A, R>(attempt: Effect.Effect<A, SyncFailed, R>): Effect.Effect<A, SyncFailed, R | MachineWaker> =>
    attempt.pipe(
      Effect.tapError(({ code }) =>
        unreached.has(code) ? Effect.flatMap(MachineWaker, (waker) => waker.wake(service)) : Effect.void
      ),
      retryOutage(({ retryable }: SyncFailed) => retryable, pauses)
    )

/** One call of a service that is not worth waiting for. */
export const once = <A, E extends CallError, R>(
  service: ServiceName,
  request: Effect.Effect<A, E, R>
): Effect.Effect<A, SyncFailed, R> => request.pipe(Effect.mapError(callFailed(service)), inTime(service, silence))

/** One call of a service, retried while it is unavailable; `timeout` is for each attempt. */
export const call = <A, E extends CallError, R>(
  service: ServiceName,
  request: Effect.Effect<A, E, R>,
  timeout: Duration.Input = silence
): Effect.Effect<A, SyncFailed, R | MachineWaker> =>
  request.pipe(Effect.mapError(callFailed(service)), inTime(service, timeout), retryServiceOutage(service))

/**
 * Follows a job of a service to its last event. A stream that ends or falls silent without one is a lost connection, and
 * the job is asked for again: jobs of services are idempotent.
 */
export const follow = <Event extends { readonly _tag: string }, E extends CallError, E2 extends CallError, R>(
  service: ServiceName,
  request: Effect.Effect<Stream.Stream<Event | Failed, E2>, E, R>,
  onEvent: (event: Event) => Effect.Effect<void>,
  /** False where the service itself has tried often enough before it says that it failed. */
  retryFailed: boolean
): Effect.Effect<Extract<Event, { readonly _tag: "Completed" }>, SyncFailed, R | MachineWaker> => {
  type Completed = Extract<Event, { readonly _tag: "Completed" }>
  const isFailed = (event: Event | Failed): event is Failed => event._tag === "Failed"
  return request.pipe(
    Effect.mapError(callFailed(service)),
    inTime(service, silence),
    Effect.flatMap((events) =>
      events.pipe(
        Stream.mapError(callFailed(service)),
        Stream.timeoutOrElse({ duration: silence, orElse: () => Stream.fromEffect(lost(service)) }),
        Stream.mapEffect((event) =>
          isFailed(event)
            ? Effect.fail(
                new SyncFailed({
                  ...failureOf(event.code, event.message),
                  retryable: retryFailed && event.retryable
                })
              )
            : Effect.as(onEvent(event), event)
        ),
        Stream.filter((event): event is Completed => event._tag === "Completed"),
        Stream.runLast
      )
    ),
    Effect.flatMap(Option.match({ onNone: () => lost(service), onSome: Effect.succeed })),
    retryServiceOutage(service)
  )
}
