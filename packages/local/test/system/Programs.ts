import { join } from "node:path"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Effect, Redacted } from "effect"
import { freePorts } from "../../src/Ports.ts"
import type { Program } from "../../src/Program.ts"
import { programsOf } from "../../src/Stack.ts"
import { adminKey } from "./TestStack.ts"

/** The programs of the system, not started yet: with ports and a folder of their own, on the database of the suite. */
export const programsIn = Effect.fnUntraced(function* (folder: string, products: number, key: string = adminKey) {
  const { url } = yield* TestDatabase
  const dir = yield* temporaryFolder(folder)
  const on = yield* freePorts
  const all = programsOf({
    form: "src",
    on,
    products,
    databaseUrl: Redacted.value(url),
    adminKey: key,
    store: { SNAPSHOT_DIR: join(dir, "snapshots") },
    logDir: dir
  })
  /** One of them, with these settings besides its own. */
  const program = (name: "simulator" | "fetcher" | "maintainer" | "orchestrator", env = {}): Program => {
    const found = all.find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no ${name}`)
    return { ...found, env: { ...found.env, ...env } }
  }
  const addressOf = (name: "fetcher" | "maintainer" | "orchestrator") => ({
    baseUrl: `http://localhost:${on[name].port}`,
    adminKey: Redacted.make(key)
  })
  return { on, dir, url, program, addressOf }
})
