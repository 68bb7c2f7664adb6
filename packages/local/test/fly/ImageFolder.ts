import { execFileSync } from "node:child_process"
import { chmodSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { freePorts } from "../../src/Ports.ts"
import { accountOf } from "../../src/PostgresBinaries.ts"
import { start } from "../../src/Program.ts"
import { programsOf } from "../../src/Stack.ts"
import { tether } from "../../src/Tether.ts"
import { root } from "../../src/Workspace.ts"
import { adminKey } from "../system/TestStack.ts"

export type Service = "fetcher" | "maintainer" | "orchestrator"

/** How the Dockerfile starts a service, after `node`. */
export const command = ["--max-semi-space-size=8", "dist/main.js"]

/** Nothing that the services may write to, and nothing of ours in their environment. */
const bare = { PATH: "/usr/bin:/bin", HOME: "/nonexistent", TMPDIR: "/nonexistent", NODE_ENV: "production" }

/** What the image holds, made by the steps of the Dockerfile; and a Node that another user can reach. */
export class ImageFolder extends Context.Service<ImageFolder, { readonly dir: string; readonly node: string }>()(
  "local/test/ImageFolder"
) {
  static readonly layer = Layer.effect(
    ImageFolder,
    Effect.acquireRelease(
      Effect.sync(() => {
        const folder = mkdtempSync(join(tmpdir(), "medipim-image-"))
        chmodSync(folder, 0o755)
        const dir = join(folder, "app")
        // As in the checkout of somebody who lets nobody else read: the services run as another user all the same.
        execFileSync("/bin/sh", ["-c", 'umask 077 && exec "$@"', "sh", join(root, "fly/image.sh"), dir], {
          stdio: "pipe"
        })
        const node = join(folder, "node")
        copyFileSync(process.execPath, node)
        chmodSync(node, 0o755)
        return ImageFolder.of({ dir, node })
      }),
      ({ dir }) => Effect.sync(() => rmSync(join(dir, ".."), { recursive: true, force: true }))
    )
  )
}

/** Joins a control group, which only root may, and goes on as a user who owns nothing. */
const confined = (group: string, args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const script = 'echo $$ > "$1" && shift && exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"'
  return ["/bin/sh", "-c", script, "confined", join(group, "cgroup.procs"), ...args]
}

/**
 * Runs a command of the image as the container would: in the folder of its app, as a user who owns nothing, and within the
 * memory of the control group when one is given.
 */
export const run = Effect.fnUntraced(function* (
  app: Service,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
  group?: string
) {
  const { dir, node } = yield* ImageFolder
  const logFile = join(dir, "..", `${app}.log`)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      tether("TERM", group === undefined ? [node, ...args] : confined(group, [node, ...args]), {
        ...(group === undefined ? accountOf() : {}),
        cwd: join(dir, "packages", app),
        env: { ...bare, APP: app, ...env },
        output: openSync(logFile, "a")
      })
    ),
    ({ release, exited }) =>
      Effect.promise(() => {
        release()
        return exited
      })
  )
  return {
    exited: Effect.promise(() => child.exited),
    stop: Effect.sync(child.release),
    log: () => readFileSync(logFile, "utf8")
  }
})

const get = (url: string) =>
  Effect.tryPromise(async () => {
    const answer = await fetch(url, { headers: { "x-admin-key": adminKey } })
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
    return (await answer.json()) as Record<string, unknown>
  })
const patiently = { schedule: Schedule.spaced("50 millis"), times: 6000 }

/** Waits until the address answers. */
export const answers = (url: string) => Effect.retry(get(url), patiently)

/** A whole sync; the record of the run. */
export const syncAt = Effect.fnUntraced(function* (orchestrator: string) {
  const started = yield* Effect.promise(() =>
    fetch(`${orchestrator}/sync`, { method: "POST", headers: { "x-admin-key": adminKey } })
  )
  const { runId } = (yield* Effect.promise(() => started.json())) as { readonly runId: string }
  return yield* get(`${orchestrator}/runs/${runId}`).pipe(
    Effect.filterOrFail(({ status }) => status !== "running"),
    Effect.retry(patiently)
  )
})

/** All that the services of the image need around them: a database, a place for snapshots, and the simulator. */
export const surroundings = Effect.fnUntraced(function* (products: number) {
  const { url } = yield* TestDatabase
  const snapshots = yield* temporaryFolder("snapshots")
  chmodSync(snapshots, 0o777)
  const on = yield* freePorts
  const logDir = yield* temporaryFolder("logs")
  const [simulator, ...services] = programsOf({
    form: "src",
    on,
    products,
    databaseUrl: Redacted.value(url),
    adminKey,
    store: { SNAPSHOT_DIR: snapshots },
    logDir
  })
  if (simulator !== undefined) yield* start(simulator, logDir)
  return { services, orchestrator: `http://localhost:${on.orchestrator.port}` }
})
