import { Schema } from "effect"

/** Before the first byte of the stream. */
const refusals = ["server-error", "maintenance", "html", "rate-limited", "refused", "empty"] as const
/** At a record of the stream. */
const breaks = [
  "cut-mid-line",
  "cut-between-lines",
  "stall",
  "reset",
  "slow-drip",
  "error-line",
  "invalid-json-line",
  "undecodable",
  "unknown-shape",
  "duplicate-line",
  "gap",
  "wrong-total",
  "total-changes",
  "change-mid-stream",
  "oversized-line"
] as const

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** A fault for the next `times` stream requests. */
export const Fault = Schema.Struct({
  fault: Schema.Literals([...refusals, ...breaks]),
  /** The record at which it happens; half-way when not said. */
  at: Schema.optionalKey(Count),
  times: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
  /** rate-limited, server-error, maintenance: the header `Retry-After`, in seconds. */
  retryAfter: Schema.optionalKey(Count),
  /** slow-drip: milliseconds between two lines. */
  delayMs: Schema.optionalKey(Count)
})
export type Fault = typeof Fault.Type

export const makeFaults = () => {
  let armed: Array<Fault> = []
  let struck = 0
  return {
    arm: (fault: Fault) => {
      for (let i = 0; i < (fault.times ?? 1); i++) armed.push(fault)
    },
    clear: () => {
      armed = []
    },
    /** The fault of the request that comes now. */
    next: (): Fault | undefined => armed.shift(),
    armed: () => armed.length,
    /** To be called when a fault has come about. */
    strike: () => {
      struck += 1
    },
    struck: () => struck
  }
}
export type Faults = ReturnType<typeof makeFaults>
