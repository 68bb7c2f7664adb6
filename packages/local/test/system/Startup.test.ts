import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "../../src/Workspace.ts"

/** Starts a service with this environment and nothing else; these starts must fail, at once. */
const start = (service: string, env: Record<string, string>) => {
  const main = join(root, `packages/${service}/src/main.ts`)
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--conditions=medipim-source", main], {
    env: { PATH: process.env.PATH, LOG_FORMAT: "json", ...env },
    encoding: "utf8",
    timeout: 20_000
  })
  return { status, said: stdout + stderr }
}

const needed = {
  fetcher: ["ADMIN_KEY", "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "MEDIPIM_API_KEY_ID", "MEDIPIM_API_KEY_SECRET"],
  maintainer: ["ADMIN_KEY", "DATABASE_URL", "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"],
  orchestrator: ["ADMIN_KEY", "DATABASE_URL"]
}

describe("A service that is not configured", () => {
  for (const [service, variables] of Object.entries(needed)) {
    it(`ends with one error that names all that is missing: ${service}`, () => {
      const { status, said } = start(service, {})
      assert.strictEqual(status, 1)
      const lines = said.trim().split("\n")
      assert.strictEqual(lines.length, 1, said)
      const { message, level } = JSON.parse(lines[0] ?? "") as { readonly message: string; readonly level: string }
      assert.strictEqual(level, "FATAL")
      for (const variable of variables) assert.include(message, `${variable} is missing: `)
      assert.strictEqual(message.split("\n").length, 1 + variables.length)
    })
  }

  it("names what is wrong and shows no secret", () => {
    const { status, said } = start("fetcher", {
      ADMIN_KEY: "short-admin-key",
      MEDIPIM_API_KEY_ID: "1",
      MEDIPIM_API_KEY_SECRET: "the secret with blanks",
      MEDIPIM_FILTER: "{not json",
      REQUEST_TIMEOUT: "soon",
      SNAPSHOT_DIR: "/tmp"
    })
    assert.strictEqual(status, 1)
    for (const name of ["ADMIN_KEY", "MEDIPIM_API_KEY_SECRET", "MEDIPIM_FILTER", "REQUEST_TIMEOUT"]) {
      assert.include(said, name)
    }
    assert.notMatch(said, /short-admin-key|with blanks/)
  })

  it("names a schedule that never comes and a place without a clock", () => {
    const { status, said } = start("orchestrator", {
      ADMIN_KEY: "k".repeat(32),
      DATABASE_URL: "postgres://u:p@127.0.0.1:9/nowhere",
      SYNC_CRON: "0 2 31 2 *",
      SYNC_TIMEZONE: "Australia/Sidney"
    })
    assert.strictEqual(status, 1)
    assert.include(said, "SYNC_CRON is not a cron of five fields")
    assert.include(said, "SYNC_TIMEZONE is not the name of a time zone")
  })

  it("says when the database does not answer, without its password", () => {
    const { status, said } = start("maintainer", {
      ADMIN_KEY: "k".repeat(32),
      SNAPSHOT_DIR: "/tmp",
      DATABASE_URL: "postgres://someone:the-password@127.0.0.1:9/nowhere"
    })
    assert.strictEqual(status, 1)
    assert.match(said, /ECONNREFUSED/)
    assert.notInclude(said, "the-password")
  })
})
