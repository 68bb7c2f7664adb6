import type { Run } from "@medipim/domain/Run"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect, Option, Schedule, Stream } from "effect"
import { Services } from "./Connection.ts"
import { exitCodes, Outcome, outcomeOf, shown } from "./Outcome.ts"
import { plainLine, progressLine, recordsDone } from "./Text.ts"

/** Where progress goes: standard error, so that standard output stays for the answer. */
interface Screen {
  readonly isTerminal: boolean
  readonly write: (text: string) => void
}

const screen: Screen = {
  isTerminal: process.stderr.isTTY === true,
  write: (text) => {
    process.stderr.write(text)
  }
}

/** While a service restarts, a follower waits this long for it. */
const retryPolicy = { schedule: Schedule.spaced("2 seconds"), times: 30 }
const clearLine = "\r\u001b[2K"

/** Draws progress: one line that is redrawn on a terminal, one line a step elsewhere. */
const makePainter = ({ isTerminal, write }: Screen) => {
  let step = ""
  let last: { readonly phase: string; readonly records: number; readonly at: number } | undefined
  const rateOf = (run: Run): number => {
    const now = performance.now()
    const records = recordsDone(run)
    const before = last?.phase === run.phase ? last : undefined
    last = before ?? { phase: run.phase, records, at: now }
    return before === undefined || now === before.at ? 0 : ((records - before.records) * 1000) / (now - before.at)
  }
  return {
    paint: (run: Run) => {
      if (isTerminal) return write(`${clearLine}${progressLine(run, rateOf(run), process.stderr.columns || 80)}`)
      const next = `${run.phase}/${Math.floor(run.progress.percent / 10)}`
      if (next !== step) write(`${plainLine(run)}\n`)
      step = next
    },
    clear: () => {
      if (isTerminal) write(clearLine)
    }
  }
}

/** Follows a run to its end. A lost connection is made again; the run does not notice. */
export const follow = Effect.fn("Follow.run")(function* (runId: string) {
  const client = yield* OrchestratorClient
  const { orchestrator } = yield* Services
  const painter = makePainter(screen)
  let heard = false
  const outcome = outcomeOf(orchestrator)
  const lost = new Outcome({
    code: exitCodes.unreachable,
    message: "The connection to the orchestrator was lost.",
    passes: true
  })

  return yield* client.events({ params: { id: runId } }).pipe(
    Effect.mapError(outcome),
    Effect.flatMap((events) =>
      events.pipe(
        Stream.mapError((error) => {
          // A stream that broke, between two lines or in one; a page of the web is no line either.
          const isCut = error._tag === "HttpClientError" || (heard && error.message.includes("unterminated"))
          return isCut ? lost : outcome(error)
        }),
        Stream.timeoutOrElse({ duration: "30 seconds", orElse: () => Stream.fail(lost) }),
        Stream.tap((event) =>
          Effect.sync(() => {
            heard = true
            if (event._tag === "Progress") painter.paint(event.run)
          })
        ),
        Stream.filter((event) => event._tag === "Finished"),
        Stream.map(({ run }) => run),
        Stream.runLast
      )
    ),
    Effect.flatMap(Option.match({ onNone: () => Effect.fail(lost), onSome: Effect.succeed })),
    Effect.retry({ ...retryPolicy, while: ({ passes }) => passes === true }),
    Effect.ensuring(Effect.sync(painter.clear)),
    Effect.onInterrupt(() =>
      Effect.sync(() =>
        screen.write(`Sync ${runId} continues. ${shown("watch")} follows it, ${shown("cancel")} stops it.\n`)
      )
    )
  )
})
