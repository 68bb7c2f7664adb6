import { spawn } from "node:child_process"
import { join } from "node:path"
import { Effect } from "effect"
import { root } from "./Workspace.ts"

/** The exit code with which `medipim sync` says that a sync is running already. */
const alreadyRunning = 3

/** Runs the command line as a user would, on the terminal of this process. It ends with us, however we end. */
const medipim = (command: string, env: Readonly<Record<string, string>>) =>
  Effect.callback<number>((resume) => {
    const child = spawn(
      process.execPath,
      ["--conditions=medipim-source", join(root, "packages/cli/src/main.ts"), command],
      { cwd: root, stdio: "inherit", env: { ...process.env, ...env } }
    )
    child.once("error", () => resume(Effect.succeed(127)))
    child.once("exit", (code) => resume(Effect.succeed(code ?? 130)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Syncs, or follows the sync that an earlier start left running. The answer is the exit code of the command. */
export const firstSync = Effect.fn("FirstSync.run")(function* (env: Readonly<Record<string, string>>) {
  const code = yield* medipim("sync", env)
  return code === alreadyRunning ? yield* medipim("watch", env) : code
})
