import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// The tests start some hundred programs of ours: Node compiles each file once.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("node_modules/.cache/node", import.meta.url))

const conditions = ["medipim-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/test/**/*.test.ts"],
    // Own processes, so that a test may spawn, send signals and change its environment; three, because most of them wait
    // for other programs most of the time. A worker keeps what it has loaded for its next file.
    pool: "forks",
    isolate: false,
    globalSetup: "packages/testing/src/GlobalSetup.ts",
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
