import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { Effect, Schedule } from "effect"

/** Settings of a program whose clock is wrong by as many milliseconds as stand in this file. */
export const withClockFile = (file: string) => ({
  NODE_OPTIONS: `--import ${pathToFileURL(`${import.meta.dirname}/WrongClock.ts`).href}`,
  MEDIPIM_TEST_CLOCK: file
})

/** Sets the clock of a program that is not started yet. The file is never seen half written. */
export const writeClock = (file: string, error: number) =>
  Effect.sync(() => {
    writeFileSync(`${file}.new`, String(error))
    renameSync(`${file}.new`, file)
  })

const taken = (file: string): string | undefined =>
  existsSync(`${file}.taken`) ? readFileSync(`${file}.taken`, "utf8") : undefined

/** Sets the clock of a program that runs, and waits until it has it. */
export const moveClock = (file: string, error: number) =>
  writeClock(file, error).pipe(
    Effect.andThen(
      Effect.sync(() => taken(file)).pipe(
        Effect.repeat({ until: (text) => text === String(error), schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("10 seconds")
      )
    ),
    Effect.orDie,
    Effect.asVoid
  )
