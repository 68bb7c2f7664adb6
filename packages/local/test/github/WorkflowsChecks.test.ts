import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { creator } from "@secretlint/secretlint-rule-pattern"
import { Effect } from "effect"
import { root } from "../../src/Workspace.ts"

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>
}

/** A repository with these files, in which a script of ours runs as npm would run it. */
const repository = (files: Readonly<Record<string, string>>) =>
  Effect.map(temporaryFolder("checks"), (dir) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      writeFileSync(join(dir, path), text)
    }
    copyFileSync(join(root, ".secretlintrc.json"), join(dir, ".secretlintrc.json"))
    spawnSync("git", ["init", "--quiet"], { cwd: dir })
    spawnSync("git", ["add", "."], { cwd: dir })
    return (script: string) => {
      const { status, stdout, stderr } = spawnSync("/bin/sh", ["-c", scripts[script] ?? "exit 2"], {
        cwd: dir,
        encoding: "utf8",
        env: { PATH: `${join(root, "node_modules/.bin")}:${dirname(process.execPath)}:/usr/bin:/bin` }
      })
      return { status, said: stdout + stderr }
    }
  })

describe("npm run check", () => {
  it.effect("fails on a mere warning of the Dockerfile's linter, which tells it and ends with 0", () =>
    Effect.gen(function* () {
      const bad = yield* repository({ "fly/Dockerfile": "FROM node:24-slim\nMAINTAINER somebody\n" })
      const { status, said } = bad("check:image")
      assert.strictEqual(status, 1)
      assert.include(said, "MAINTAINER has been deprecated")
      assert.strictEqual((yield* repository({}))("check:image").status, 1, "without a Dockerfile")
      const good = yield* repository({ "fly/Dockerfile": "FROM node:24-slim\n" })
      assert.strictEqual(good("check:image").status, 0)
    })
  )

  it.effect("fails when there is no workflow where it looks for them", () =>
    Effect.gen(function* () {
      const moved = yield* repository({ ".github/workflows/ci.yaml": "name: CI\n" })
      assert.notStrictEqual(moved("check:workflows").status, 0)
    })
  )
})

const random = "Zq7Xw2Rt9Lk4Vb8Nm3Pc6Hd1Sf5Gj0Ty"
const payload = `eyJ${Buffer.from('"role":"service_role","iss":"supabase"').toString("base64url")}`
/** Put together here, so that this file holds none. */
const secrets: ReadonlyArray<readonly [string, string]> = [
  ["a secret key of Supabase", `const key = "sb_${"secret"}_${random}"`],
  ["a service role key of Supabase", `apikey: eyJhbGciOiJIUzI1NiJ9.${payload}.${random}`],
  ["a token of Fly", `FLY_API_TOKEN="FlyV1 ${"fm2"}_${random}${random},${"fm2"}_${random}${random}"`],
  ["the admin key in a .env", `ADMIN_${"KEY"}=${"0123456789abcdef".repeat(3)}`],
  ["the admin key in code", `{ "ADMIN_${"KEY"}": "${random}" }`],
  ["the previous admin key", `ADMIN_${"KEY"}_PREVIOUS='${random}'`],
  ["the admin key in a call", `curl -H "X-ADMIN-${"KEY"}: ${random}" https://orchestrator.test/status`],
  ["the secret of MediPim", `export MEDIPIM_API_KEY_${"SECRET"}=${random}`]
]

describe("npm run check:secrets", () => {
  it.effect.each(secrets)("finds %s that somebody commits, and does not show it", ([, line]) =>
    Effect.gen(function* () {
      const { status, said } = (yield* repository({ "notes.txt": `${line}\n` }))("check:secrets")
      assert.strictEqual(status, 1, said)
      assert.include(said, creator.meta.id)
      assert.notInclude(said, random)
    })
  )

  it.effect("takes no name, no command and no key of a test for one", () =>
    Effect.gen(function* () {
      const harmless = [
        "ADMIN_KEY=",
        `ADMIN_KEY=$(openssl rand -hex 24)`,
        `-H "X-ADMIN-KEY: $ADMIN_KEY"`,
        `MEDIPIM_ADMIN_KEY: \${{ secrets.MEDIPIM_ADMIN_KEY }}`,
        `ADMIN_KEY: "admin-key-of-the-operator-0123456789abcdef"`,
        "ADMIN_KEY: Redacted.value(settings.adminKey)"
      ]
      const { status, said } = (yield* repository({ "notes.txt": harmless.join("\n") }))("check:secrets")
      assert.strictEqual(status, 0, said)
    })
  )
})
