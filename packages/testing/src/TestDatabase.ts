import { execFileSync } from "node:child_process"
import { existsSync, renameSync } from "node:fs"
import { join } from "node:path"
import { EmbeddedPostgres, initialise } from "@medipim/local/EmbeddedPostgres"
import { findBinaries } from "@medipim/local/PostgresBinaries"
import { Context, Effect, Layer, type Redacted } from "effect"
import { temporaryFolder } from "./TemporaryFolder.ts"

/** Takes the place of a folder unless there is one: another worker made the same at the same time. */
const renameUnlessThere = (from: string, to: string): void => {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!existsSync(to)) throw error
  }
}

/** `initdb` takes 1.5 s: all suites of a test run copy the data folder that the first one made. */
const copyInitialised = Effect.fnUntraced(function* (shared: string, dir: string) {
  const made = join(shared, "data")
  if (!existsSync(made)) {
    const binaries = yield* Effect.promise(findBinaries)
    yield* Effect.sync(() => {
      const mine = join(shared, `data-${process.pid}`)
      initialise({ dir: mine, durable: false }, binaries)
      renameUnlessThere(mine, made)
    })
  }
  // With its owner, who is another user when the tests are run by root.
  execFileSync("cp", ["-a", made, dir])
})

/** An empty database for a suite of tests, on a server of its own that is gone with the suite. */
export class TestDatabase extends Context.Service<TestDatabase, { readonly url: Redacted.Redacted }>()(
  "testing/TestDatabase"
) {
  static readonly layer = Layer.effect(
    TestDatabase,
    Effect.gen(function* () {
      const dir = join(yield* temporaryFolder("test"), "data")
      const shared = process.env.MEDIPIM_SHARED_DIR
      if (shared !== undefined) yield* copyInitialised(shared, dir)
      const { url } = yield* EmbeddedPostgres.make({ dir, port: 0, durable: false })
      return TestDatabase.of({ url })
    })
  )
}
