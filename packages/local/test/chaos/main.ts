import { randomInt } from "node:crypto"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Effect, Layer } from "effect"
import type { Case } from "./Case.ts"
import { databaseFaults } from "./DatabaseFaults.ts"
import { figures } from "./Figures.ts"
import { missedGuards } from "./Guards.ts"
import { House } from "./House.ts"
import { killPoints } from "./Kills.ts"
import { type Played, play } from "./Play.ts"
import { rivals } from "./Rivals.ts"
import { sourceFaults } from "./SourceFaults.ts"
import { stops } from "./Stops.ts"
import { storageFaults } from "./StorageFaults.ts"
import { stored, type Table } from "./Table.ts"

const usage = `npm run test:chaos -- [--short] [--only TEXT] [--seeds N] [--products N] [--guards]

Kills, cuts and crashes the whole system at named places and compares the table with the source afterwards.
  --short      one seed a place and a small catalogue
  --only TEXT  the cases whose name holds this text
  --seeds N    seeds for each case
  --products N size of the catalogue
  --guards     breaks what keeps the promises, one after the other, in a copy: the suite must turn red each time
MEDIPIM_CHAOS_SEED repeats a run of the suite.`

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    seeds: { type: "string" },
    products: { type: "string" },
    guards: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const chosenFigures = values.short ? figures.short : figures.whole
const orElse = (text: string | undefined, figure: number) => (text === undefined ? figure : Number(text))
const products = orElse(values.products, chosenFigures.products)
const seeds = orElse(values.seeds, chosenFigures.seedsPerPoint)
const faultRounds = orElse(values.seeds, chosenFigures.faultRounds)
const baseSeed = Number(process.env.MEDIPIM_CHAOS_SEED ?? randomInt(1, 1_000_000_000))
const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

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
  const { logDir } = yield* House
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
        Effect.map(stored, (now) => ({
          status: "unplayed",
          violations: [Cause.pretty(cause)],
          recovery: 0,
          table: now
        }))
      ),
      Effect.flatMap((result) => note(name, seed, result))
    )

  const count = (kind: Case["kind"]): void => {
    if (kind === "kill") tally.kills += 1
    else if (kind === "fault") tally.faults += 1
    else if (kind === "cancel") tally.cancels += 1
    else tally.stops += 1
  }
  const chosen = (cases: ReadonlyArray<Case>) =>
    cases.filter(({ name, thorough }) => name.includes(values.only) && !(values.short && thorough === true))
  const rounds = Effect.fnUntraced(function* (cases: ReadonlyArray<Case>, times: number) {
    for (let round = 0; round < times; round++) {
      for (const one of chosen(cases)) {
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
  yield* rounds([...sourceFaults, ...databaseFaults, ...storageFaults, ...stops], faultRounds)
  for (const victim of ["orchestrator", "second"] as const) {
    const name = `two orchestrators, the ${victim === "second" ? "second" : "first"} is killed`
    if (!name.includes(values.only)) continue
    tally.kills += 1
    yield* noted(name, baseSeed, (before) => rivals(victim, baseSeed, before))
  }

  yield* say("")
  for (const [label, value] of [
    ["points x seeds", `${chosen(killPoints).length} x ${seeds}`],
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
const database = Layer.unwrap(Effect.map(House, (house) => house.database))

if (values.help) process.stdout.write(`${usage}\n`)
else if (values.guards) {
  const missed = missedGuards(values.only, baseSeed)
  process.stdout.write(`\nbroken guards that nobody noticed: ${missed}\n`)
  process.exitCode = missed === 0 ? 0 : 1
} else {
  NodeRuntime.runMain(
    suite.pipe(
      Effect.provide(database.pipe(Layer.provideMerge(House.layer(products)))),
      Effect.tapCause((cause) => say(Cause.pretty(cause)))
    )
  )
}
