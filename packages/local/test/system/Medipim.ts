import { Effect } from "effect"
import { commandLine, outputOf } from "./ProgramOutput.ts"
import { adminKey, TestStack } from "./TestStack.ts"

/** The command line as a user of the stack runs it, from anywhere. */
export const medipim = Effect.fnUntraced(function* (args: ReadonlyArray<string>, more: Record<string, string> = {}) {
  const { addresses } = yield* TestStack
  const env = { PATH: process.env.PATH, ADMIN_KEY: adminKey, ...addresses, ...more }
  return yield* Effect.promise(() => outputOf(process.execPath, [...commandLine, ...args], { cwd: "/", env }))
})
