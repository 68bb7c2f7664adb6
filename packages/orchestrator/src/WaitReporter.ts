import type { RunId } from "@medipim/domain/Ids"
import type { Phase, Wait } from "@medipim/domain/Run"
import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Context, DateTime, Effect, Layer } from "effect"

/** How often the service at work is asked. */
const pollInterval = "5 seconds"
/** A service that does not answer in this time counts as one that does not answer. */
const timeout = "4 seconds"

interface Answered {
  readonly waitingFor?: ReadonlyArray<Wait>
}

/** Shows in the record of a run what it waits for: an outage behind a service, a lock, or a service that is gone. */
export class WaitReporter extends Context.Service<
  WaitReporter,
  {
    /** Reports for as long as it is not interrupted; what it cannot find out or write does not matter to the run. */
    readonly report: (runId: RunId, phase: () => Phase) => Effect.Effect<never>
  }
>()("orchestrator/WaitReporter") {
  static readonly layer = Layer.effect(
    WaitReporter,
    Effect.gen(function* () {
      const fetcher = yield* FetcherClient
      const maintainer = yield* MaintainerClient
      const records = yield* RunRecords

      const ask = <E extends { readonly message: string }>(
        service: string,
        status: Effect.Effect<Answered, E>,
        before: ReadonlyArray<Wait>
      ): Effect.Effect<ReadonlyArray<Wait>> =>
        status.pipe(
          Effect.map(({ waitingFor = [] }) => waitingFor),
          Effect.timeout(timeout),
          Effect.catch(({ message }) =>
            Effect.map(DateTime.now, (now) => {
              const what = `the ${service}`
              const since = before.find((wait) => wait.what === what)?.since ?? DateTime.formatIso(now)
              return [{ what, since, reason: message }]
            })
          )
        )

      const waitsIn = (phase: Phase, before: ReadonlyArray<Wait>): Effect.Effect<ReadonlyArray<Wait>> => {
        switch (phase) {
          case "fetching":
            return ask("fetcher", fetcher.status(), before)
          case "staging":
          case "publishing":
            return ask("maintainer", maintainer.status(), before)
          default:
            return Effect.succeed([])
        }
      }

      const report = (runId: RunId, phase: () => Phase) =>
        Effect.suspend(() => {
          /** Unknown at first: an earlier process may have left a wait in the record. */
          let shown: ReadonlyArray<Wait> | undefined
          const show = (waits: ReadonlyArray<Wait>) =>
            JSON.stringify(waits) === JSON.stringify(shown)
              ? Effect.void
              : Effect.tap(records.wait(runId, waits), () =>
                  Effect.sync(() => {
                    shown = waits
                  })
                )
          return Effect.sleep(pollInterval).pipe(
            Effect.andThen(Effect.suspend(() => waitsIn(phase(), shown ?? []))),
            Effect.flatMap(show),
            Effect.ignore,
            Effect.forever,
            Effect.ensuring(Effect.ignore(Effect.suspend(() => show([]))))
          )
        })

      return WaitReporter.of({ report })
    })
  )
}
