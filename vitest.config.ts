import { defineConfig } from "vitest/config"

const conditions = ["medipim-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/test/**/*.test.ts"],
    // Own processes, so that a test may spawn, send signals and change its environment; two, so that the figures of
    // the tests that measure hold on a small machine.
    pool: "forks",
    isolate: false,
    globalSetup: "packages/testing/src/GlobalSetup.ts",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
