import { spawn } from "node:child_process"
import { join } from "node:path"
import { nodeCache } from "@medipim/testing/NodeCache"
import { root } from "../../src/Workspace.ts"

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program to its end: its exit code, -1 after a signal, and what it wrote. It sees these variables only. */
export const outputOf = (
  program: string,
  args: ReadonlyArray<string>,
  { cwd = root, env }: { readonly cwd?: string; readonly env: Readonly<Record<string, string | undefined>> }
): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env: { ...nodeCache, ...env } })
    let out = ""
    let err = ""
    child.stdout.on("data", (piece: Buffer) => {
      out += piece
    })
    child.stderr.on("data", (piece: Buffer) => {
      err += piece
    })
    child.once("close", (code) => resolve({ code: code ?? -1, out, err }))
  })

/** Node with these arguments, and those of a user behind them, is the command line. */
export const commandLine = ["--conditions=medipim-source", join(root, "packages/cli/src/main.ts")]
