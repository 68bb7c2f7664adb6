import { printable } from "@medipim/domain/Printable"
import type { Run } from "@medipim/domain/Run"
import { Context, Data, Effect, Layer, Option, Redacted, Schedule } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"

/** The receiver did not take it; the address stays out of the message, it may hold a token. */
export class NotificationFailed extends Data.TaggedError("NotTold")<{
  readonly message: string
  readonly passing: boolean
}> {}

/** Retries a receiver that is unavailable for a moment, but not for long. */
const retryPolicy = {
  while: ({ passing }: NotificationFailed) => passing,
  schedule: Schedule.exponential("500 millis").pipe(Schedule.jittered),
  times: 4
}

/** Characters; receivers cut longer ones, or refuse them. */
const longestText = 2000

const textOf = ({ runId, mode, status, failure, progress }: Run): string => {
  const { inserted, updated, removed, restored, rejected } = progress
  const counts = `${inserted} inserted, ${updated} updated, ${removed} removed, ${restored} restored, ${rejected} rejected`
  return printable(`MediPim AU Sync ${runId} (${mode}) ${status}: ${failure?.message ?? counts}`, longestText)
}

/** Tells people how a run ended. */
export class Notifier extends Context.Service<
  Notifier,
  {
    /**
     * Posts `{text, run}`. It may come twice when the process is killed just then: `Idempotency-Key` is the id of the run.
     * Without an address nothing is sent, which is no failure except in `notification-only`.
     */
    readonly send: (run: Run) => Effect.Effect<void, NotificationFailed>
    /** The same for a sync that was due or asked for at this time (ISO text) and cannot begin: `run` is null. */
    readonly notifySyncCannotStart: (due: string, reason: string) => Effect.Effect<void, NotificationFailed>
  }
>()("orchestrator/Notifier") {
  static readonly layer = (address: Option.Option<Redacted.Redacted>) =>
    Layer.effect(
      Notifier,
      Effect.gen(function* () {
        const client = yield* HttpClient.HttpClient

        const post = Effect.fn("Notifier.post")(function* (
          url: Redacted.Redacted,
          key: string,
          body: { readonly text: string; readonly run: Run | null }
        ) {
          const { status } = yield* HttpClientRequest.post(Redacted.value(url)).pipe(
            HttpClientRequest.setHeader("idempotency-key", key),
            HttpClientRequest.bodyJsonUnsafe(body),
            client.execute,
            Effect.timeout("10 seconds"),
            Effect.mapError(() => new NotificationFailed({ message: "NOTIFY_URL does not answer.", passing: true })),
            // Its span and its errors would show the address.
            Effect.withTracerEnabled(false)
          )
          if (status >= 300) {
            return yield* new NotificationFailed({
              message: `NOTIFY_URL answered ${status}.`,
              passing: status === 429 || status >= 500
            })
          }
        }, Effect.retry(retryPolicy))

        return Notifier.of({
          send: (run) =>
            Option.match(address, {
              onNone: () =>
                run.mode === "notification-only"
                  ? Effect.fail(
                      new NotificationFailed({ message: "NOTIFY_URL is not set on the orchestrator.", passing: false })
                    )
                  : Effect.void,
              onSome: (url) => post(url, run.runId, { text: textOf(run), run })
            }),
          notifySyncCannotStart: (due, reason) =>
            Option.match(address, {
              onNone: () => Effect.void,
              onSome: (url) =>
                post(url, `not-begun-${due}`, {
                  text: printable(`MediPim AU Sync: the sync due at ${due} cannot begin: ${reason}`, longestText),
                  run: null
                })
            })
        })
      })
    )
}
