import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Effect, Exit, Layer } from "effect"
import { databaseFaults } from "./cases/DatabaseFaults.ts"
import { killPoints } from "./cases/Kills.ts"
import { outages } from "./cases/Outages.ts"
import { owners } from "./cases/Owners.ts"
import { stops } from "./cases/Signals.ts"
import { sourceFaults } from "./cases/SourceFaults.ts"
import { storageFaults } from "./cases/StorageFaults.ts"
import { pairs, rivals } from "./cases/TwoOrchestrators.ts"
import { asked, problems, usage } from "./harness/Arguments.ts"
import type { Case } from "./harness/Case.ts"
import { abandon, type Played, play } from "./harness/CaseRunner.ts"
import { Environment } from "./harness/Environment.ts"
import { stored, type Table } from "./harness/ExpectedTable.ts"
import { guardsNamed, missedOf, outdated } from "./harness/Mutations.ts"

const { baseSeed, faultRounds, only, products, seeds, short } = asked
const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

const faults = [...sourceFaults, ...databaseFaults, ...storageFaults, ...owners, ...outages, ...stops]
/** The short form has a thorough case only when it is asked for by its whole name. */
const isChosen = ({ name, thorough }: Pick<Case, "name" | "thorough">): boolean =>
  name.includes(only) && !(short && thorough === true && name !== only)
if (asked.guards ? guardsNamed(only).length === 0 : ![...killPoints, ...faults, ...pairs].some(isChosen)) {
  const what = asked.guards ? "guard" : `case${short ? " of the short form" : ""}`
  problems.push(`--only is "${only}": no ${what} has this in its name`)
}

problems.push(...(asked.guards ? outdated : []))

interface Tally {
  runs: number
  kills: number
  faults: number
  cancels: number
  stops: number
  failed: number
  longest: { readonly name: string; readonly recovery: number }
  readonly violations: Array<string>
}

const suite = Effect.gen(function* () {
  const { logDir } = yield* Environment
  const tally: Tally = {
    runs: 0,
    kills: 0,
    faults: 0,
    cancels: 0,
    stops: 0,
    failed: 0,
    longest: { name: "", recovery: 0 },
    violations: []
  }
  let table: Table = new Map()

  const note = Effect.fnUntraced(function* (name: string, seed: number, played: Played) {
    tally.runs += 1
    if (played.status === "failed") tally.failed += 1
    if (played.recovery > tally.longest.recovery) tally.longest = { name, recovery: played.recovery }
    tally.violations.push(...played.violations.map((text) => `${name}, seed ${seed}: ${text}`))
    table = played.table
    const seconds = (played.recovery / 1000).toFixed(1).padStart(5)
    yield* say(`${seconds} s  ${played.status.padEnd(9)}  ${name}${played.violations.map((one) => `\n  ! ${one}`)}`)
  })

  /** What cannot even be played to its end is a violation too. */
  const noted = <E, R>(name: string, seed: number, played: (before: Table) => Effect.Effect<Played, E, R>) =>
    Effect.suspend(() => played(table)).pipe(
      Effect.catchCause((cause) =>
        Effect.gen(function* () {
          const left = yield* Effect.exit(abandon)
          const violations = [Cause.pretty(cause), ...(Exit.isFailure(left) ? [Cause.pretty(left.cause)] : [])]
          return { status: "unplayed", violations, recovery: 0, table: yield* stored }
        })
      ),
      Effect.flatMap((result) => note(name, seed, result))
    )

  const count = (kind: Case["kind"]): void => {
    if (kind === "kill") tally.kills += 1
    else if (kind === "fault") tally.faults += 1
    else if (kind === "cancel") tally.cancels += 1
    else tally.stops += 1
  }
  const rounds = Effect.fnUntraced(function* (cases: ReadonlyArray<Case>, times: number) {
    for (let round = 0; round < times; round++) {
      for (const one of cases.filter(isChosen)) {
        const seed = baseSeed + round
        count(one.kind)
        yield* noted(one.name, seed, (before) => play(one, seed, before))
      }
    }
  })

  yield* say(`MEDIPIM_CHAOS_SEED=${baseSeed}, ${products} products, logs in ${logDir}`)
  const first: Case = { name: "the first load", kind: "fault", begin: () => Effect.succeed(calm), outcome: "succeeded" }
  yield* noted(first.name, baseSeed, (before) => play(first, baseSeed, before))
  yield* rounds(killPoints, seeds)
  // What comes at a random place is worth more than one.
  yield* rounds(
    faults.filter(({ anywhere }) => anywhere === true),
    seeds
  )
  yield* rounds(
    faults.filter(({ anywhere }) => anywhere !== true),
    faultRounds
  )
  for (const { name, victim } of pairs.filter(isChosen)) {
    tally.kills += 1
    yield* noted(name, baseSeed, (before) => rivals(name, victim, baseSeed, before))
  }

  yield* say("")
  for (const [label, value] of [
    ["points x seeds", `${killPoints.filter(isChosen).length} x ${seeds}`],
    ["runs", tally.runs],
    ["kills", tally.kills],
    ["faults", tally.faults],
    ["cancelled", tally.cancels],
    ["SIGTERM", tally.stops],
    ["runs that failed, table untouched", tally.failed],
    ["longest recovery", `${(tally.longest.recovery / 1000).toFixed(1)} s (${tally.longest.name})`],
    ["violations", tally.violations.length]
  ] as const) {
    yield* say(`${label.padEnd(36)}${value}`)
  }
  for (const violation of tally.violations) yield* say(`  ${violation}`)
  if (tally.violations.length > 0) process.exitCode = 1
})

const calm = { sprung: Effect.void, open: Effect.void }
const database = Layer.unwrap(Effect.map(Environment, (environment) => environment.database))

if (asked.help) process.stdout.write(`${usage}\n`)
else if (problems.length > 0) {
  process.stderr.write(`${problems.join("\n")}\n`)
  process.exitCode = 2
} else if (asked.guards) {
  const missed = missedOf(guardsNamed(only), baseSeed)
  process.stdout.write(`\nbroken guards that nobody noticed: ${missed}\n`)
  process.exitCode = missed === 0 ? 0 : 1
} else {
  NodeRuntime.runMain(
    suite.pipe(
      Effect.provide(database.pipe(Layer.provideMerge(Environment.layer(products)))),
      Effect.tapCause((cause) => say(Cause.pretty(cause)))
    )
  )
}
