import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parse } from "smol-toml"
import { root } from "../../src/Workspace.ts"
import { apps as names } from "./FlyNames.ts"

const settingsOf = (service: string) => parse(readFileSync(join(root, `fly/${service}.toml`), "utf8"))

const secondsIn = (duration: unknown): number => Number(/^(\d+)s$/.exec(String(duration))?.[1])
const numberIn = (file: string, pattern: RegExp): number =>
  Number(pattern.exec(readFileSync(join(root, file), "utf8"))?.[1])

const apps = [
  { service: "fetcher", port: 3001, size: "shared-cpu-1x", memory: "512mb", machines: 0 },
  { service: "maintainer", port: 3002, size: "shared-cpu-2x", memory: "2gb", machines: 0 },
  { service: "orchestrator", port: 3003, size: "shared-cpu-1x", memory: "512mb", machines: 1 }
]
const migrates = { strategy: "rolling", release_command: "node /app/packages/maintainer/dist/migrate.js" }

describe.each(apps)("the toml file of the $service", ({ service, port, size, memory, machines }) => {
  const settings = settingsOf(service)

  it("is the app of this service, in Sydney, of its size", () => {
    assert.deepInclude(settings, { primary_region: "syd", vm: [{ size, memory }] })
    assert.deepEqual(settings.build, { dockerfile: "Dockerfile", args: { APP: service } })
  })

  it("serves HTTPS only, and is woken but never stopped by the proxy", () => {
    assert.deepEqual(settings.http_service, {
      internal_port: port,
      force_https: true,
      auto_start_machines: true,
      auto_stop_machines: "off",
      min_machines_running: machines,
      checks: [{ method: "GET", path: "/healthz", grace_period: "15s", interval: "30s", timeout: "5s" }]
    })
  })

  it("tells its metrics", () => {
    assert.deepEqual(settings.metrics, { port: 9091, path: "/metrics" })
  })

  it("gives a stopping process the time that the drain and the workflow engine take", () => {
    assert.strictEqual(settings.kill_signal, "SIGTERM")
    const drain = numberIn("packages/platform/src/http/ApiServer.ts", /const drain = Duration.seconds\((\d+)\)/)
    const steps = numberIn("packages/orchestrator/src/Engine.ts", /entityTerminationTimeout: "(\d+) seconds"/)
    assert.isAbove(secondsIn(settings.kill_timeout), drain + steps)
    assert.isAtMost(secondsIn(settings.kill_timeout), 300, "the most that Fly allows")
  })

  it("has no section that flyctl would not know", () => {
    const sections = "app primary_region kill_signal kill_timeout build deploy env http_service restart vm metrics"
    assert.sameMembers(Object.keys(settings), sections.split(" "))
  })

  it("names no secret", () => {
    assert.notMatch(JSON.stringify(settings.env), /KEY|SECRET|DATABASE_URL|TOKEN/)
  })
})

describe("The three apps", () => {
  // The one place that holds the names: whoever deploys under others changes them here and in fly/*.toml.
  it("have these names", () => {
    assert.deepEqual(names, {
      fetcher: "medipim-fetcher",
      maintainer: "medipim-maintainer",
      orchestrator: "medipim-orchestrator"
    })
  })

  it("migrate the database before a release, but the fetcher, which has none", () => {
    assert.deepEqual(settingsOf("fetcher").deploy, { strategy: "rolling" })
    assert.deepEqual(settingsOf("maintainer").deploy, migrates)
    assert.deepEqual(settingsOf("orchestrator").deploy, migrates)
  })

  it("stay stopped after a clean end when they may sleep, and come back after a failure", () => {
    const onFailure = [{ policy: "on-failure", retries: 10 }]
    assert.deepEqual(settingsOf("fetcher").restart, onFailure)
    assert.deepEqual(settingsOf("maintainer").restart, onFailure)
    assert.deepEqual(settingsOf("orchestrator").restart, [{ policy: "always" }])
  })

  it("sleep after five minutes, but the orchestrator, which wakes the others by their public address", () => {
    const common = { METRICS_PORT: "9091", LOG_FORMAT: "json" }
    assert.deepEqual(settingsOf("fetcher").env, { FETCHER_PORT: "3001", ...common, IDLE_SHUTDOWN: "5 minutes" })
    assert.deepEqual(settingsOf("maintainer").env, { MAINTAINER_PORT: "3002", ...common, IDLE_SHUTDOWN: "5 minutes" })
    assert.deepEqual(settingsOf("orchestrator").env, {
      ORCHESTRATOR_PORT: "3003",
      ...common,
      FETCHER_URL: `http://${names.fetcher}.internal:3001`,
      MAINTAINER_URL: `http://${names.maintainer}.internal:3002`,
      FETCHER_WAKE_URL: `https://${names.fetcher}.fly.dev`,
      MAINTAINER_WAKE_URL: `https://${names.maintainer}.fly.dev`
    })
  })
})
