import { defineConfig } from "vitest/config"

const conditions = ["medipim-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { include: ["packages/*/test/**/*.test.ts"], testTimeout: 30_000, hookTimeout: 60_000 }
})
