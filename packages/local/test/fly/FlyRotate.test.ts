import { lstatSync, renameSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { series } from "@medipim/testing/Randomness"
import { Effect } from "effect"
import type { Call } from "./FlyctlStandIn.ts"
import { environment, flyHouse, type Variables } from "./FlyHouse.ts"
import { appNames, apps } from "./FlyNames.ts"

const oldKey = environment.ADMIN_KEY
const script = "rotate-admin-key.sh"

type Fly = Effect.Success<typeof flyHouse>

const deployedWith = Effect.fnUntraced(function* (variables: Variables) {
  const fly = yield* flyHouse
  const app = { org: "personal", staged: variables, secrets: variables, releases: 1 }
  fly.set({ apps: Object.fromEntries(appNames.map((name) => [name, app])) })
  return fly
})
const deployed = deployedWith(environment)
const rotate = (fly: Fly, ...args: ReadonlyArray<string>) => Effect.promise(() => fly.run(script, args))

const accepts = ({ machines }: Pick<Call, "machines">, app: string, key: string): boolean =>
  [machines[app]?.ADMIN_KEY, machines[app]?.ADMIN_KEY_PREVIOUS].includes(key)

/** The orchestrator calls with the key that it has. */
const nobodyIsRefused = (call: Call, callersHave: string): void => {
  const own = call.machines[apps.orchestrator]?.ADMIN_KEY ?? ""
  for (const app of appNames) {
    assert.isTrue(accepts(call, app, own), `${app} and the orchestrator, after ${call.command}`)
    assert.isTrue(accepts(call, app, callersHave), `${app} and the callers, after ${call.command}`)
  }
}

/** Every change that a whole rotation asks flyctl for, in order. */
const beginSteps = appNames.flatMap((app) => [`secrets import --stage --app ${app}`, `secrets deploy --app ${app}`])
const finishSteps = appNames.flatMap((app) => [
  `secrets unset ADMIN_KEY_PREVIOUS --stage --app ${app}`,
  `secrets deploy --app ${app}`
])

/** In the middle of the apps; in the long series at each step. */
const telling = (steps: ReadonlyArray<string>) => steps.slice(...series([3, 4], [0]))

describe("fly/rotate-admin-key.sh", () => {
  it.effect("moves everybody to a new key, and nobody is refused in between", () =>
    Effect.gen(function* () {
      const fly = yield* deployed
      const begun = yield* rotate(fly)
      assert.strictEqual(begun.code, 0, begun.said)
      const { ADMIN_KEY: newKey = "", ADMIN_KEY_PREVIOUS } = fly.env()
      assert.match(newKey, /^[0-9a-f]{48}$/)
      assert.strictEqual(ADMIN_KEY_PREVIOUS, oldKey)
      assert.deepEqual(fly.commands(), beginSteps)
      for (const call of fly.calls()) nobodyIsRefused(call, oldKey)
      assert.include(begun.said, "gh secret set MEDIPIM_ADMIN_KEY --env sync")
      assert.include(begun.said, "--finish")

      fly.forget()
      const finished = yield* rotate(fly, "--finish")
      assert.strictEqual(finished.code, 0, finished.said)
      assert.deepEqual(fly.commands(), finishSteps)
      for (const call of fly.calls()) nobodyIsRefused(call, newKey)
      for (const app of appNames) {
        const { secrets } = fly.state().apps[app] ?? assert.fail(app)
        assert.strictEqual(secrets.ADMIN_KEY, newKey)
        assert.notProperty(secrets, "ADMIN_KEY_PREVIOUS")
      }
      assert.deepInclude(fly.env(), { ...environment, ADMIN_KEY: newKey, ADMIN_KEY_PREVIOUS: "" })
      assert.include(fly.envText(), "# kept\n")
      for (const text of [begun.said, finished.said, fly.commands().join("\n")]) {
        assert.notInclude(text, oldKey)
        assert.notInclude(text, newKey)
      }
    })
  )

  const strange = [
    { what: "a #, where a value without quotes would end", key: "an-operators#key-0123456789abcdef#ghijkl" },
    { what: "\\n, which double quotes make a line end", key: "an-operators\\nkey-0123456789abcdef#ghijkl" }
  ]
  it.effect.each(strange)("keeps an old key whole that holds $what", ({ key }) =>
    Effect.gen(function* () {
      const fly = yield* deployedWith({ ...environment, ADMIN_KEY: key })
      fly.setEnvText(fly.envText().replace(/^ADMIN_KEY=.*$/m, () => `ADMIN_KEY='${key}'`))
      const { code, said } = yield* rotate(fly)
      assert.strictEqual(code, 0, said)
      assert.strictEqual(fly.env().ADMIN_KEY_PREVIOUS, key)
      for (const app of appNames) assert.strictEqual(fly.state().apps[app]?.secrets.ADMIN_KEY_PREVIOUS, key)
      for (const call of fly.calls()) nobodyIsRefused(call, key)
    })
  )

  it.effect("writes through a .env that is a link, and finds one that is named from where it was started", () =>
    Effect.gen(function* () {
      const fly = yield* deployed
      renameSync(join(fly.dir, ".env"), join(fly.dir, "safe"))
      symlinkSync("safe", join(fly.dir, ".env"))
      const { code, said } = yield* Effect.promise(() => fly.run(script, [], { ENV_FILE: ".env" }))
      assert.strictEqual(code, 0, said)
      assert.isTrue(lstatSync(join(fly.dir, ".env")).isSymbolicLink())
      assert.strictEqual(fly.env().ADMIN_KEY_PREVIOUS, oldKey)
    })
  )

  it.effect.each(telling(beginSteps))("goes on with the same new key after a stop at: %s", (failing) =>
    Effect.gen(function* () {
      const fly = yield* deployed
      fly.set({ failing })
      const stopped = yield* rotate(fly)
      assert.strictEqual(stopped.code, 1)
      assert.include(stopped.said, "run fly/rotate-admin-key.sh again")
      const { ADMIN_KEY: newKey } = fly.env()
      assert.strictEqual((yield* rotate(fly, "--finish")).code, 1, "too early")
      fly.set({ failing: "nothing" })
      const again = yield* rotate(fly)
      assert.strictEqual(again.code, 0, again.said)
      assert.strictEqual(fly.env().ADMIN_KEY, newKey)
      assert.strictEqual(fly.env().ADMIN_KEY_PREVIOUS, oldKey)
      for (const call of fly.calls()) nobodyIsRefused(call, oldKey)
    })
  )

  it.effect.each(telling(finishSteps))("removes the old key in the end after a stop at: %s", (failing) =>
    Effect.gen(function* () {
      const fly = yield* deployed
      yield* rotate(fly)
      fly.forget()
      const { ADMIN_KEY: newKey = "" } = fly.env()
      fly.set({ failing })
      const stopped = yield* rotate(fly, "--finish")
      assert.strictEqual(stopped.code, 1)
      assert.include(stopped.said, "run fly/rotate-admin-key.sh --finish again")
      fly.set({ failing: "nothing" })
      const again = yield* rotate(fly, "--finish")
      assert.strictEqual(again.code, 0, again.said)
      for (const call of fly.calls()) nobodyIsRefused(call, newKey)
      for (const app of appNames) assert.notProperty(fly.state().apps[app]?.secrets, "ADMIN_KEY_PREVIOUS")
    })
  )

  it.effect("does nothing more when it is finished twice", () =>
    Effect.gen(function* () {
      const fly = yield* deployed
      yield* rotate(fly)
      yield* rotate(fly, "--finish")
      fly.forget()
      const { code, said } = yield* rotate(fly, "--finish")
      assert.strictEqual(code, 0)
      assert.include(said, "No rotation is under way")
      assert.deepEqual(fly.commands(), [])
    })
  )

  it.effect("does not begin from a key that the apps do not know", () =>
    Effect.gen(function* () {
      const fly = yield* deployed
      const stranger = "another-key-of-forty-characters-0123456789"
      fly.setEnv({ ...environment, ADMIN_KEY: stranger })
      const { code, said } = yield* rotate(fly)
      assert.strictEqual(code, 1)
      assert.include(said, "does not know the ADMIN_KEY")
      assert.strictEqual(fly.env().ADMIN_KEY, stranger)
      assert.deepEqual(fly.commands(), [])
    })
  )

  it.effect("keeps a deployment in the middle of it harmless", () =>
    Effect.gen(function* () {
      const fly = yield* deployed
      fly.set({ failing: `secrets deploy --app ${apps.maintainer}` })
      yield* rotate(fly)
      fly.set({ failing: "nothing" })
      assert.strictEqual((yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))).code, 0)
      for (const call of fly.calls()) nobodyIsRefused(call, oldKey)
    })
  )
})

/** Damage that flyctl does not tell of: what the apps answer shows it. */
const unseen = [
  {
    when: "an app goes on without its new secrets",
    damage: { pretending: `secrets deploy --app ${apps.maintainer}` },
    begin: `${apps.maintainer} does not accept the new key`
  },
  {
    when: "an app does not answer any more",
    damage: { ill: apps.maintainer },
    begin: `${apps.maintainer} does not accept the new key`
  },
  {
    when: "an app forgets the old key",
    damage: { losing: "ADMIN_KEY_PREVIOUS" },
    begin: `${apps.fetcher} does not accept the old key`
  }
]
const unseenAtTheEnd = [
  {
    when: "an app does not answer",
    damage: { ill: apps.maintainer },
    finish: `${apps.maintainer} does not accept the new key yet; nothing was removed`,
    asked: []
  },
  {
    when: "an app keeps the old key",
    damage: { pretending: `secrets unset ADMIN_KEY_PREVIOUS --stage --app ${apps.fetcher}` },
    finish: `${apps.fetcher} still accepts the old key`,
    asked: finishSteps.slice(0, 2)
  },
  {
    when: "an app goes on with the secrets it had",
    damage: { pretending: `secrets deploy --app ${apps.maintainer}` },
    finish: `${apps.maintainer} still accepts the old key`,
    asked: finishSteps.slice(0, 4)
  },
  {
    when: "an app forgets the new key as well",
    damage: { losing: "ADMIN_KEY" },
    finish: `${apps.fetcher} does not accept the new key`,
    asked: finishSteps.slice(0, 2)
  }
]

describe("fly/rotate-admin-key.sh believes what the apps answer", () => {
  it.effect.each(unseen)("and stops when $when", ({ damage, begin }) =>
    Effect.gen(function* () {
      const fly = yield* deployed
      fly.set(damage)
      const { code, said } = yield* rotate(fly)
      assert.strictEqual(code, 1)
      assert.include(said, begin)
      assert.include(said, "run fly/rotate-admin-key.sh again")
      assert.strictEqual(fly.env().ADMIN_KEY_PREVIOUS, oldKey)
      const steps = begin.startsWith(apps.fetcher) ? 2 : 4
      assert.deepEqual(fly.commands(), beginSteps.slice(0, steps), "and nothing after it")
    })
  )

  it.effect.each(unseenAtTheEnd)("and does not finish when $when", ({ damage, finish, asked }) =>
    Effect.gen(function* () {
      const both = { ...environment, ADMIN_KEY: "new-key-of-the-operator-0123456789abcdef", ADMIN_KEY_PREVIOUS: oldKey }
      const fly = yield* deployedWith(both)
      fly.setEnv(both)
      fly.set(damage)
      const { code, said } = yield* rotate(fly, "--finish")
      assert.strictEqual(code, 1)
      assert.include(said, finish)
      assert.deepEqual(fly.commands(), asked, "and nothing after it")
      assert.strictEqual(fly.env().ADMIN_KEY_PREVIOUS, oldKey, "so that --finish can be repeated")
    })
  )
})
