import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect } from "effect"
import { start } from "../../src/Program.ts"
import { outputOf } from "./ProgramOutput.ts"
import { programsIn } from "./Programs.ts"

const preload = ["--import", join(import.meta.dirname, "NoIpv6.ts")]
const names = ["simulator", "fetcher", "maintainer", "orchestrator"] as const

const isReached = (host: string, url: string) =>
  Effect.promise(() =>
    fetch(url.replace("localhost", host)).then(
      ({ ok }) => ok,
      () => false
    )
  )

layer(TestDatabase.layer, { excludeTestServices: true, timeout: "60 seconds" })("A kernel without IPv6", (it) => {
  it.effect("is what the preload makes of this one", () =>
    Effect.gen(function* () {
      const script = `require("node:net").createServer().listen(0, "::")`
      const { err } = yield* Effect.promise(() => outputOf(process.execPath, [...preload, "-e", script], { env: {} }))
      assert.include(err, "EAFNOSUPPORT")
    })
  )

  it.effect("is served on IPv4, by the simulator and by all services with their metrics", () =>
    Effect.gen(function* () {
      const { program, dir } = yield* programsIn("no-ipv6", 10)
      const programs = names.map((name) => program(name, { NODE_OPTIONS: preload.join(" ") }))
      yield* Effect.forEach(programs, (one) => start(one, dir), { concurrency: programs.length })
      for (const { name, readyUrl, env } of programs) {
        const { METRICS_PORT: port } = env
        for (const url of [readyUrl, ...(port === undefined ? [] : [`http://localhost:${port}/metrics`])]) {
          const reached = [yield* isReached("127.0.0.1", url), yield* isReached("[::1]", url)]
          assert.deepStrictEqual(reached, [true, false], `${name}: ${url}`)
        }
      }
    })
  )
})
