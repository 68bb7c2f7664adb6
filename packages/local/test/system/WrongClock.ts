/**
 * Loaded before a program of ours (`node --import`): its clock is wrong by as many milliseconds as stand in the file that
 * MEDIPIM_TEST_CLOCK names, and jumps when that changes; `.taken` beside it holds what the process goes by. What counts from
 * the start of the process, as timers do, is right.
 */
import { readFileSync, writeFileSync } from "node:fs"

const file = process.env.MEDIPIM_TEST_CLOCK
const RealDate = Date
let error = 0
let hasTaken = false
const read = (): void => {
  if (file === undefined) return
  const found = Number(readFileSync(file, "utf8"))
  if (found === error && hasTaken) return
  error = found
  hasTaken = true
  writeFileSync(`${file}.taken`, String(error))
}
read()
setInterval(read, 20).unref()

class WrongDate extends RealDate {
  constructor(...parts: ReadonlyArray<never>) {
    if (parts.length === 0) super(RealDate.now() + error)
    else super(...(parts as unknown as [number]))
  }
  static override now(): number {
    return RealDate.now() + error
  }
}
globalThis.Date = WrongDate as unknown as DateConstructor
