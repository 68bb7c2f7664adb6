import { join } from "node:path"
import { Effect } from "effect"
import { tether } from "./Tether.ts"
import { root } from "./Workspace.ts"

/** The exit code with which `medipim sync` says that a sync is running already. */
const alreadyRunning = 3

/** Runs the command line as a user would, on the terminal of this process. */
const medipim = (command: string, env: Readonly<Record<string, string>>) =>
  Effect.acquireUseRelease(
    Effect.sync(() =>
      tether(
        "INT",
        [process.execPath, "--conditions=medipim-source", join(root, "packages/cli/src/main.ts"), command],
        {
          cwd: root,
          env: { ...process.env, ...env },
          output: "inherit"
        }
      )
    ),
    ({ exited }) => Effect.promise(() => exited),
    ({ release }) => Effect.sync(release)
  )

/** Syncs, or follows the sync that an earlier start left running. The answer is the exit code of the command. */
export const firstSync = Effect.fn("FirstSync.run")(function* (env: Readonly<Record<string, string>>) {
  const code = yield* medipim("sync", env)
  return code === alreadyRunning ? yield* medipim("watch", env) : code
})
