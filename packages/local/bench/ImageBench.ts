/**
 * The content of the image at work as on Fly: an unprivileged user, and no more memory than the machine of each app has.
 * `npm run bench:image`, or `npm run bench:image -- 20000` for another number of products. Needs root, for control groups.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Console, Data, Duration, Effect, Layer } from "effect"
import { answers, command, ImageFolder, run, type Service, surroundings, syncAt } from "../test/fly/ImageFolder.ts"

const products = Number(process.argv[2] ?? 108_000)
const mebibyte = 1024 * 1024
/** As fly/*.toml has them. */
const machines: Readonly<Record<Service, number>> = { fetcher: 512, maintainer: 2048, orchestrator: 512 }

class SyncFailed extends Data.TaggedError("SyncFailed")<{ readonly message: string }> {}

/** Both versions of control groups: where groups are made, and what their files are called. */
const groups = existsSync("/sys/fs/cgroup/memory")
  ? {
      base: "/sys/fs/cgroup/memory",
      limit: "memory.limit_in_bytes",
      // Of memory and swap together; not there where the kernel does not count swap.
      swap: { file: "memory.memsw.limit_in_bytes", valueOf: (bytes: number) => bytes },
      peak: "memory.max_usage_in_bytes"
    }
  : {
      base: "/sys/fs/cgroup",
      limit: "memory.max",
      swap: { file: "memory.swap.max", valueOf: () => 0 },
      peak: "memory.peak"
    }

/** A control group that holds no more than this, until the scope closes. */
const memoryLimit = (name: string, megabytes: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const group = join(groups.base, `medipim-${process.pid}-${name}`)
      mkdirSync(group)
      const bytes = megabytes * mebibyte
      writeFileSync(join(group, groups.limit), String(bytes))
      // Fly's machines have no swap: what does not fit must not be hidden in it.
      const swap = join(group, groups.swap.file)
      if (existsSync(swap)) writeFileSync(swap, String(groups.swap.valueOf(bytes)))
      return group
    }),
    (group) => Effect.sync(() => rmdirSync(group))
  )

const inSeconds = (duration: Duration.Duration): string => `${Duration.toSeconds(duration).toFixed(2)} s`

const peakOf = (group: string): number => Number(readFileSync(join(group, groups.peak), "utf8")) / mebibyte

const program = Effect.gen(function* () {
  const { services, orchestrator } = yield* surroundings(products)
  const held: Array<readonly [string, string]> = []
  for (const { name, env, readyUrl } of services) {
    const group = yield* memoryLimit(name, machines[name as Service])
    const [ready] = yield* Effect.timed(Effect.andThen(run(name as Service, command, env, group), answers(readyUrl)))
    held.push([name, group])
    yield* Console.log(`${name}: ready after ${inSeconds(ready)}, in ${machines[name as Service]} MB`)
  }
  const [taken, { status, failure, progress }] = yield* Effect.timed(syncAt(orchestrator))
  yield* Console.log(`${products} products: ${String(status)} after ${inSeconds(taken)}`)
  for (const [name, group] of held) yield* Console.log(`${name}: held ${peakOf(group).toFixed(0)} MB at most`)
  if (status !== "succeeded") return yield* new SyncFailed({ message: JSON.stringify(failure) })
  const { inserted } = progress as { readonly inserted: number }
  if (inserted !== products) return yield* new SyncFailed({ message: `${inserted} of ${products} were inserted` })
})

program.pipe(Effect.scoped, Effect.provide(Layer.mergeAll(ImageFolder.layer, TestDatabase.layer)), NodeRuntime.runMain)
