/** Set by `npm run test:random`, which plays whole series. */
const drawn = process.env.MEDIPIM_RANDOM_SEED

/** Random tests draw from this seed: the same one in every `npm test`, a new one in every `npm run test:random`. */
export const seed = Number(drawn ?? 20_261_126)

/** The length of a series, or its places: short in `npm test`, long in `npm run test:random`. */
export const series = <A>(short: A, long: A): A => (drawn === undefined ? short : long)

/** The options of a property, with the number of its runs. */
export const random = (short = 100, long = short) => ({ arbitrary: { seed, runs: series(short, long) } })
