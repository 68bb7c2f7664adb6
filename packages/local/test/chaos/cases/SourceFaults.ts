import { Effect } from "effect"
import { afterBytes, insideCharacter, insideNumber, type Place } from "../harness/ByteOffset.ts"
import { anywhere, type Case, nowhere, onTheWay, warningsOf } from "../harness/Case.ts"
import { thriftily } from "../harness/DownloadRatio.ts"
import { Environment } from "../harness/Environment.ts"
import type { Trap } from "../harness/Proxy.ts"

interface More {
  readonly times?: number
  readonly at?: number
  readonly delayMs?: number
  readonly retryAfter?: number
}

/** What lasts is met again by the next try. */
const leastOf = (times: number): number => Math.min(times, 2)

const fromSource = (fault: string, outcome: Case["outcome"], more: More = {}): Case => ({
  name: `source: ${[fault, ...Object.entries(more).map((pair) => pair.join(" "))].join(", ")}`,
  kind: "fault",
  begin: Effect.fnUntraced(function* () {
    const { control } = yield* Environment
    const { struck: before } = yield* control("POST /control/faults", { fault, ...more })
    const complaints = control("GET /control/faults").pipe(
      Effect.map(({ struck }) => Number(struck) - Number(before)),
      Effect.map((times) => (times < leastOf(more.times ?? 1) ? [`${fault} came about ${times} times`] : [])),
      Effect.orDie
    )
    return { ...nowhere, complaints }
  }),
  outcome
})

const stream = { where: /\/stream$/, at: "body" } as const
const cutAt = (place: Place): Trap => ({ ...stream, place, what: "cut" })

/** Each request breaks after about a sixth of the stream, five times. */
const fiveTimes = 5

/** A download that goes on after each cut asks for little more than once the bytes. */
const cutFiveTimes: Case = {
  name: "source: cut five times",
  kind: "fault",
  thorough: true,
  begin: Effect.fnUntraced(function* () {
    const { proxies, streamBytes } = yield* Environment
    const thrift = yield* thriftily(1.2)
    const armed = proxies.source.set({ ...cutAt(afterBytes(Math.floor(streamBytes / fiveTimes))), times: fiveTimes })
    return { ...armed, ...thrift }
  }),
  outcome: "succeeded"
}

/** While the download waits before it goes on, products are changed, and one is gone. */
const changedMeanwhile: Case = {
  ...onTheWay("source: cut, and changed before it goes on", "source", (dice, { streamBytes }) =>
    cutAt(afterBytes(dice.int(1, streamBytes)))
  ),
  strike: () =>
    Effect.flatMap(Environment, ({ control }) => control("POST /control/changes", { update: 20, remove: 1 })),
  changing: true
}

/** A download that resumes keeps each record once, whether or not a product is to be removed in that run. */
const resumed: Case = {
  ...fromSource("cut-between-lines", "succeeded"),
  demands: (runId) =>
    // A record that was kept twice is a warning, and the only one that this run could have.
    Effect.map(warningsOf(runId), (warnings) => (warnings === "[]" ? [] : [`a clean run warns: ${warnings}`]))
}

/** What the source does wrong once is made up for; what it goes on doing wrong fails the run. */
export const sourceFaults: ReadonlyArray<Case> = [
  anywhere("source: cut at any byte", "source", (dice, { streamBytes }) => cutAt(afterBytes(dice.int(1, streamBytes)))),
  anywhere("source: cut inside a character", "source", (dice, { streamBytes }) =>
    cutAt(insideCharacter(dice.int(1, streamBytes)))
  ),
  anywhere("source: cut inside a number", "source", (dice, { streamBytes }) =>
    cutAt(insideNumber(dice.int(1, streamBytes)))
  ),
  cutFiveTimes,
  changedMeanwhile,
  { ...fromSource("change-mid-stream", "succeeded"), changing: true },
  resumed,
  ...["stall", "error-line", "gap", "server-error"].map((fault) => fromSource(fault, "succeeded")),
  ...["reset", "cut-mid-line", "duplicate-line", "wrong-total", "total-changes", "html", "maintenance"].map(
    (fault) => ({
      ...fromSource(fault, "succeeded"),
      thorough: true
    })
  ),
  fromSource("rate-limited", "succeeded"),
  fromSource("rate-limited", "succeeded", { retryAfter: 1 }),
  fromSource("slow-drip", "succeeded", { at: 1400, delayMs: 2 }),
  fromSource("empty", { failed: "EmptyCatalogue" }),
  fromSource("refused", { failed: "MediPimError" }),
  fromSource("gap", { failed: "StreamBroken" }, { times: 60 }),
  { ...fromSource("html", { failed: "StreamBroken" }, { times: 60 }), thorough: true }
]
