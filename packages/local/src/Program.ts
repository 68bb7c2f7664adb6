import * as fs from "node:fs"
import { join } from "node:path"
import { Data, Effect, Schedule } from "effect"
import { tether } from "./Tether.ts"
import { root } from "./Workspace.ts"

export class ProgramFailed extends Data.TaggedError("ProgramFailed")<{ readonly message: string }> {}

export interface Program {
  readonly name: string
  /** Below the root of the repository. */
  readonly file: string
  readonly env: Readonly<Record<string, string>>
  /** Answers 200 once the program can work. */
  readonly readyUrl: string
}

/** What a program of ours may see of the environment besides its own variables. */
const inherited = /^(PATH|HOME|TMPDIR|LANG|TZ|NODE_.*|OTEL_.*|LOG_LEVEL|MEDIPIM_LOCAL_DIR)$/
const environment = () => Object.entries(process.env).filter(([name]) => inherited.test(name))

/** A small young generation costs no time here and saves a third of the memory (docs/benchmarks.md). */
const nodeFlags = ["--enable-source-maps", "--max-semi-space-size=8"]
const flagsFor = (file: string): ReadonlyArray<string> =>
  file.endsWith(".ts") ? [...nodeFlags, "--conditions=medipim-source"] : nodeFlags
/** A start takes about a second; a slow machine gets a minute. */
const untilReady = { schedule: Schedule.spaced("100 millis"), times: 600 }
const shownLog = 1500

const logTail = (file: string): string => {
  const log = fs.readFileSync(file, "utf8").trim()
  return log.length > shownLog ? `...${log.slice(-shownLog)}` : log
}

const isReady = async (url: string): Promise<boolean> => {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2000) })).ok
  } catch {
    return false
  }
}

/**
 * Runs a program as a process of its own until the scope closes: then it gets SIGTERM and is waited for. It ends too when
 * this process is killed. Fails, with the end of its log, when it does not get ready.
 */
export const start = Effect.fn("Program.start")(function* ({ name, file, env, readyUrl }: Program, logDir: string) {
  const logFile = join(logDir, `${name}.log`)
  const failed = (what: string) =>
    new ProgramFailed({ message: `The ${name} ${what}. Its log ends:\n${logTail(logFile)}` })
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const log = fs.openSync(logFile, "w")
      const command = [process.execPath, ...flagsFor(file), join(root, file)]
      const started = tether("TERM", command, {
        cwd: root,
        env: { ...Object.fromEntries(environment()), ...env },
        output: log
      })
      fs.closeSync(log)
      return started
    }),
    ({ release, exited }) =>
      Effect.promise(() => {
        release()
        return exited
      })
  )
  const exited = Effect.promise(() => child.exited)
  yield* Effect.promise(() => isReady(readyUrl)).pipe(
    Effect.flatMap((ready) => (ready ? Effect.void : Effect.fail(failed("does not get ready")))),
    Effect.retry(untilReady),
    Effect.raceFirst(Effect.flatMap(exited, (code) => Effect.fail(failed(`ended with code ${code}`))))
  )
  return {
    name,
    pid: child.process.pid ?? 0,
    /** The code with which it ends, or 128 + signal. */
    ended: exited,
    died: Effect.flatMap(exited, (code) => Effect.fail(failed(`ended with code ${code}`)))
  }
})
