import { spawnSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect } from "effect"
import { root } from "../../src/Workspace.ts"

/** An npm that says a lot, and installs or fails. */
const npm = (exit: number) => `#!/bin/sh
echo "$@" >> "$CALLS"
for n in 1 2 3 4 5; do echo "npm warn EBADENGINE Unsupported engine" >&2; done
echo "added 206 packages"
[ ${exit} = 0 ] || { echo "npm error EUSAGE the lock file is out of step" >&2; exit ${exit}; }
mkdir -p node_modules/.bin && touch node_modules/.bin/node
cp package-lock.json node_modules/.package-lock.json
`

/** A fresh clone, as far as the set-up looks at it. */
const clone = Effect.fnUntraced(function* (exit: number) {
  const dir = yield* temporaryFolder("clone")
  mkdirSync(join(dir, "scripts"))
  mkdirSync(join(dir, "bin"))
  copyFileSync(join(root, "scripts/setup.mjs"), join(dir, "scripts/setup.mjs"))
  copyFileSync(join(root, "package-lock.json"), join(dir, "package-lock.json"))
  writeFileSync(join(dir, "bin/npm"), npm(exit), { mode: 0o755 })
  const env = { PATH: `${join(dir, "bin")}:${process.env.PATH}`, CALLS: join(dir, "calls") }
  const setup = () =>
    spawnSync(process.execPath, ["scripts/setup.mjs"], { cwd: dir, env: { ...env }, encoding: "utf8" })
  return { dir, setup }
})

describe("The set-up of a fresh clone", () => {
  it.effect("says in one line what it does, installs once, and keeps the output of a command clean", () =>
    Effect.gen(function* () {
      const { dir, setup } = yield* clone(0)
      const first = setup()
      assert.deepStrictEqual([first.status, first.stdout], [0, ""])
      assert.match(first.stderr, /^Installing up to \d+ packages \(npm ci\)\. .*\n$/)
      assert.isTrue(existsSync(join(dir, "calls")))
      const second = setup()
      assert.deepStrictEqual([second.status, second.stdout, second.stderr], [0, "", ""])
    })
  )

  it.effect("shows all that npm says when the install fails, and ends with its code", () =>
    Effect.gen(function* () {
      const { setup } = yield* clone(7)
      const { status, stdout, stderr } = setup()
      assert.deepStrictEqual([status, stdout], [7, ""])
      assert.include(stderr, "EBADENGINE")
      assert.include(stderr, "npm error EUSAGE the lock file is out of step")
      assert.match(stderr, /npm ci failed: see above\.\n$/)
    })
  )
})
