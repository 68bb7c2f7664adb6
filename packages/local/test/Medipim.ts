import { spawn } from "node:child_process"
import { join } from "node:path"
import { Effect } from "effect"
import { root } from "../src/Workspace.ts"
import { adminKey, TestStack } from "./TestStack.ts"

/** The command line as a user runs it: its exit code and what it wrote. */
export const medipim = Effect.fnUntraced(function* (args: ReadonlyArray<string>, more: Record<string, string> = {}) {
  const { addresses } = yield* TestStack
  return yield* Effect.callback<{ readonly code: number; readonly out: string; readonly err: string }>((resume) => {
    const child = spawn(
      process.execPath,
      ["--conditions=medipim-source", join(root, "packages/cli/src/main.ts"), ...args],
      { cwd: "/", env: { PATH: process.env.PATH, ADMIN_KEY: adminKey, ...addresses, ...more } }
    )
    let out = ""
    let err = ""
    child.stdout.on("data", (piece: Buffer) => {
      out += piece
    })
    child.stderr.on("data", (piece: Buffer) => {
      err += piece
    })
    child.once("close", (code) => resume(Effect.succeed({ code: code ?? -1, out, err })))
  })
})
