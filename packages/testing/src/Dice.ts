/** Numbers from 0 to less than 1 that follow from a seed (mulberry32). */
const mulberry32 = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Chance that follows from a seed and a name: the same case comes again with the same seed. */
export const diceOf = (seed: number, name = "") => {
  const next = mulberry32(Buffer.from(name).reduce((sum, byte) => Math.imul(sum, 31) + byte, seed))
  /** A whole number, both ends included. */
  const int = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))
  return {
    int,
    chance: (share: number) => next() < share,
    oneOf: <A>(items: ReadonlyArray<A>) => items[int(0, items.length - 1)] as A,
    shuffled: <A>(items: ReadonlyArray<A>) => {
      const places = new Map(items.map((item) => [item, next()]))
      return items.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0))
    }
  }
}
/** Chance, as `diceOf` makes it. */
export type Dice = ReturnType<typeof diceOf>
