import { randomInt } from "node:crypto"
import { parseArgs } from "node:util"
import { figures } from "./Figures.ts"

export const usage = `npm run test:chaos -- [--short] [--only TEXT] [--seeds N] [--products N] [--guards]

Kills, cuts and crashes the whole system at named places and compares the table with the source afterwards.
  --short      one seed a place, a small catalogue, short outages
  --only TEXT  the cases whose name holds this text
  --seeds N    seeds for each case
  --products N size of the catalogue
  --guards     breaks what keeps the promises, one after the other, in a copy: the suite must turn red each time
MEDIPIM_CHAOS_SEED repeats a run of the suite.`

/** Fewer make no second chunk, and too few parts. */
const fewestProducts = 1000

/** What is wrong with the arguments, all of it. */
export const problems: Array<string> = []

const read = (args: Array<string>) =>
  parseArgs({
    args,
    options: {
      short: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      seeds: { type: "string" },
      products: { type: "string" },
      guards: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  }).values

const readable = (args: Array<string>): ReturnType<typeof read> => {
  try {
    return read(args)
  } catch (error) {
    problems.push(`${error instanceof Error ? error.message : String(error)}; --help shows the options`)
    return read([])
  }
}

const values = readable(process.argv.slice(2))

const wholeNumber = (name: string, text: string | undefined, least: number, otherwise: number): number => {
  if (text === undefined) return otherwise
  const number = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number >= least) return number
  problems.push(`${name} is "${text}": a whole number from ${least} is expected`)
  return otherwise
}

const { products, seedsPerPoint, faultRounds, outage } = values.short ? figures.short : figures.whole
const seeds = wholeNumber("--seeds", values.seeds, 1, seedsPerPoint)
/** What the suite is asked for. */
export const asked = {
  short: values.short,
  only: values.only,
  guards: values.guards,
  help: values.help,
  products: wholeNumber("--products", values.products, fewestProducts, products),
  seeds,
  /** Milliseconds. */
  outage,
  faultRounds: values.seeds === undefined ? faultRounds : seeds,
  baseSeed: wholeNumber("MEDIPIM_CHAOS_SEED", process.env.MEDIPIM_CHAOS_SEED, 0, randomInt(1, 1_000_000_000))
}
