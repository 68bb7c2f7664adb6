/**
 * A place in a body: how many bytes of this piece stand before it, or `undefined` when it is not in this piece. `passed`
 * is what came before the piece.
 */
export type Place = (piece: Buffer, passed: number) => number | undefined

export const afterBytes =
  (count: number): Place =>
  (piece, passed) =>
    passed + piece.length > count ? Math.max(0, count - passed) : undefined

/** Before the piece that holds this text. */
export const beforeText =
  (text: string): Place =>
  (piece) =>
    piece.includes(text) ? 0 : undefined

/** Inside the first match behind so many bytes, when all of it is in one piece. */
const inside =
  (pattern: RegExp, depth: number, behind: number): Place =>
  (piece, passed) => {
    const from = Math.max(0, behind - passed)
    // One character a byte, so that places are places of bytes.
    const found = piece.subarray(from).toString("latin1").search(pattern)
    return found === -1 ? undefined : from + found + depth
  }

/** Between the two bytes of a character. */
export const insideCharacter = (behind: number): Place => inside(/[\u00c2-\u00df][\u0080-\u00bf]/, 1, behind)
/** Between the digits of the total that each line tells. */
export const insideNumber = (behind: number): Place => inside(/"total":\d\d/, '"total":1'.length, behind)
