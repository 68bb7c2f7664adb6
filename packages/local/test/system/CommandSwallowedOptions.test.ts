import { assert, describe, it } from "vitest"
import { anyService, json } from "./AnyService.ts"

const { told, medipim, npm } = anyService()

describe("Options that npm keeps for itself", () => {
  const swallowed = {
    "medipim sync --dry-run": "npm run -s medipim -- sync --dry-run",
    "-s medipim sync --force --force-refresh": "npm run -s medipim -- sync --force-refresh --force",
    "medipim runs --limit 5": "npm run -s medipim -- runs --limit 5",
    "medipim sync --mode=maintain-only --offset=0 --json":
      "npm run -s medipim -- sync --json --mode maintain-only --offset 0",
    "medipim rejected --run-id 20200101T000000Z-00000000 --size 5":
      "npm run -s medipim -- rejected --run-id VALUE --size VALUE",
    "medipim --dry-run -- replay --reason x": "npm run -s medipim -- replay --reason x --dry-run"
  }
  it.each(Object.entries(swallowed))(
    "%s does nothing and shows the right form",
    async (line, right) => {
      told.asked = 0
      const { code, err } = await npm(line)
      assert.strictEqual(code, 2, err)
      assert.include(err, `  ${right}\n`)
      assert.strictEqual(told.asked, 0)
    },
    20_000
  )

  it("are none when nothing was swallowed, or what npm is set to stands in the command too", async () => {
    told.answer = json({ runs: [] })
    for (const line of [
      "-s medipim -- runs --json",
      "-s --no-json medipim -- runs --json",
      "-s --json medipim -- runs --json"
    ]) {
      const { code, out, err } = await npm(line)
      assert.deepStrictEqual([code, out, err], [0, "[]\n", ""], line)
    }
  }, 20_000)

  it("are looked for under this script only", async () => {
    told.answer = json({ runs: [] })
    const env = { npm_config_force: "true", npm_lifecycle_event: "nightly" }
    assert.strictEqual((await medipim("runs --json", env)).code, 0)
  })
})
