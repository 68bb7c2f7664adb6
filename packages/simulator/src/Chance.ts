/** A number of 32 bits that depends on all three and on nothing else: the same seed gives the same catalogue. */
export const chance = (seed: number, index: number, salt: number): number => {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35) ^ Math.imul(salt + 1, 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39)
  return (h ^ (h >>> 15)) >>> 0
}

/** The choices of one product: `of` picks from a list, `below` gives a whole number, `oneIn` is rarely true. */
export const choices = (seed: number, index: number) => {
  const draw = (salt: number): number => chance(seed, index, salt)
  return {
    below: (salt: number, limit: number): number => draw(salt) % limit,
    oneIn: (salt: number, n: number): boolean => draw(salt) % n === 0,
    of: <A>(salt: number, list: readonly [A, ...ReadonlyArray<A>]): A => list[draw(salt) % list.length] as A
  }
}
export type Choices = ReturnType<typeof choices>
