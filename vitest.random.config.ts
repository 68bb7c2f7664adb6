import { randomInt } from "node:crypto"
import { globSync, readFileSync } from "node:fs"
import { defineConfig } from "vitest/config"
import base from "./vitest.config.ts"

process.env.MEDIPIM_RANDOM_SEED ??= String(randomInt(2 ** 31))

/** The random tests, with long series from a new seed. */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: globSync("packages/*/test/**/*.test.ts").filter((file) =>
      readFileSync(file, "utf8").includes("@medipim/testing/Randomness")
    )
  }
})
