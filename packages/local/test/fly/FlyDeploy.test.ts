import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { root } from "../../src/Workspace.ts"
import { environment, flyHouse, type Variables } from "./FlyHouse.ts"
import { appNames, apps, type Service, withYourNames } from "./FlyNames.ts"

const secretNames = {
  [apps.fetcher]: [
    "ADMIN_KEY",
    "MEDIPIM_API_KEY_ID",
    "MEDIPIM_API_KEY_SECRET",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_URL"
  ],
  [apps.maintainer]: ["ADMIN_KEY", "DATABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_URL"],
  [apps.orchestrator]: ["ADMIN_KEY", "DATABASE_URL"]
}
const optional = ["NOTIFY_URL", "DATABASE_CA"]
const creates = (org: string) => appNames.map((app) => `apps create ${app} --org ${org}`)
const imports = appNames.map((app) => `secrets import --stage --app ${app}`)
const deploys = (Object.keys(apps) as Array<Service>).map(
  (service) => `deploy . --config fly/${service}.toml --app ${apps[service]} --remote-only --ha=false --yes`
)

const showsNoSecret = (text: string): void => {
  for (const value of Object.values(environment)) assert.notInclude(text, value)
}

describe("docs/fly-deployment.md", () => {
  const page = withYourNames(readFileSync(join(root, "docs/fly-deployment.md"), "utf8"))

  it("shows by hand what the script does", () => {
    const shown = [...page.matchAll(/flyctl ((?:apps create|secrets import|deploy) .*)/g)].filter(([, command]) =>
      command?.includes(apps.fetcher)
    )
    assert.deepEqual(
      shown.map(([, command]) => command),
      [creates("personal")[0], imports[0], deploys[0]]
    )
  })

  it("names the secrets that each app gets", () => {
    for (const [app, names] of Object.entries(secretNames)) {
      const row = page.split("\n").find((line) => line.startsWith(`| \`${app}\``)) ?? ""
      const shown = [...row.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name)
      assert.sameMembers(
        shown.filter((name) => !optional.includes(name ?? "")),
        names
      )
      const database = app !== apps.fetcher
      assert.strictEqual(shown.includes("DATABASE_CA"), database)
    }
  })
})

describe("fly/deploy.sh", () => {
  it.effect("goes from nothing to three healthy apps, each with its own secrets only", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 0, said)
      assert.deepEqual(fly.commands(), [...creates("personal"), ...imports, ...deploys])
      for (const [app, names] of Object.entries(secretNames)) {
        const { secrets, releases } = fly.state().apps[app] ?? assert.fail(app)
        const expected = Object.fromEntries(names.map((name) => [name, (environment as Variables)[name]]))
        assert.deepEqual(secrets, expected, app)
        assert.strictEqual(releases, 1)
      }
      assert.include(said, "npm run -s medipim -- sync")
      assert.include(said, "gh secret set MEDIPIM_ADMIN_KEY --env sync")
      showsNoSecret(said + fly.commands().join("\n"))
    })
  )

  it.effect("makes nothing twice, and leaves everything as it was when nothing has changed", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"], { FLY_ORG: "pharmacy" }))
      const first = fly.state()
      assert.strictEqual(first.apps[apps.fetcher]?.org, "pharmacy")
      fly.forget()
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 0, said)
      assert.deepEqual(fly.commands(), [...imports, ...deploys])
      for (const app of appNames) {
        assert.deepEqual(fly.state().apps[app]?.secrets, first.apps[app]?.secrets)
        assert.strictEqual(fly.state().apps[app]?.org, "pharmacy")
      }
    })
  )

  it.effect("shows what it would do with --dry-run, and changes nothing", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.strictEqual(code, 0, said)
      const shown = said.split("\n").filter((line) => line.startsWith("$ flyctl "))
      const wouldRun = shown.map((line) => line.replace("$ flyctl ", "").replace(/ +#.*/, ""))
      assert.deepEqual(wouldRun, [...creates("personal"), ...imports, ...deploys])
      assert.include(said, "# ADMIN_KEY DATABASE_URL SUPABASE_URL SUPABASE_SERVICE_ROLE_KEY", "names, no values")
      assert.deepEqual(fly.commands(), [])
      assert.deepEqual(fly.state().apps, {})
      showsNoSecret(said)
    })
  )

  it.effect("deploys one app with --only, and asks for no variable of another", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const { MEDIPIM_API_KEY_ID: _, ...others } = environment
      fly.setEnv(others)
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--only", "maintainer"]))
      assert.strictEqual(code, 0, said)
      assert.deepEqual(Object.keys(fly.state().apps), [apps.maintainer])
    })
  )

  it.effect("deploys all three with --only all, which the workflow says", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run", "--only", "all"]))
      assert.strictEqual(code, 0, said)
      for (const app of appNames) assert.include(said, `--app ${app}`)
    })
  )

  it.effect("deploys the code alone with --keep-secrets, without a .env", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      fly.forget()
      fly.setEnv({})
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--keep-secrets"]))
      assert.strictEqual(code, 0, said)
      assert.deepEqual(fly.commands(), deploys)
      fly.set({ apps: {} })
      const bare = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--keep-secrets"]))
      assert.strictEqual(bare.code, 1)
      assert.include(bare.said, "without --keep-secrets once")
    })
  )

  it.effect("creates apps in the organization of .env, unless the environment names one", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.setEnv({ ...environment, FLY_ORG: "pharmacy" })
      const planned = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run", "--only", "fetcher"]))
      assert.include(planned.said, `$ flyctl apps create ${apps.fetcher} --org pharmacy`)
      assert.notInclude(planned.said, "FLY_ORG")
      const other = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"], { FLY_ORG: "hospital" }))
      assert.include(other.said, `$ flyctl apps create ${apps.fetcher} --org hospital`)
    })
  )

  it.effect("asks before it changes anything, and takes no answer for no", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh"))
      assert.strictEqual(code, 1)
      assert.include(said, "fly/deploy.sh --yes")
      assert.deepEqual(fly.commands(), [])
    })
  )

  it.effect.skipIf(process.platform !== "linux")("takes the end of input at its question for no, and says so", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      // Debian's own `script` makes a terminal, at which nobody types.
      const { code, said } = yield* Effect.promise(() =>
        fly.spawned("script", ["-qec", join(root, "fly/deploy.sh"), "/dev/null"])
      )
      assert.strictEqual(code, 1)
      assert.include(said, "no answer came; nothing was changed")
      assert.deepEqual(fly.commands(), [])
    })
  )

  it.effect("explains itself, and knows its options", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const help = yield* Effect.promise(() => fly.run("deploy.sh", ["--help"]))
      assert.strictEqual(help.code, 0)
      for (const option of ["--yes", "--only", "--dry-run", "--keep-secrets", "--new-key"]) {
        assert.include(help.said, option)
      }
      assert.strictEqual((yield* Effect.promise(() => fly.run("deploy.sh", ["--prune"]))).code, 1)
      assert.strictEqual((yield* Effect.promise(() => fly.run("deploy.sh", ["--only", "database"]))).code, 1)
      assert.deepEqual(fly.calls(), [])
    })
  )
})

const failures = [
  {
    what: "an app that cannot be created",
    failing: `apps create ${apps.maintainer}`,
    says: "flyctl orgs list",
    after: creates("personal").slice(0, 2)
  },
  {
    what: "secrets that cannot be set",
    failing: `secrets import --stage --app ${apps.maintainer}`,
    says: `flyctl secrets list --app ${apps.maintainer}`,
    after: [...creates("personal"), ...imports.slice(0, 2)]
  },
  {
    what: "a deployment that fails",
    failing: "deploy . --config fly/maintainer.toml",
    says: `flyctl logs --app ${apps.maintainer}`,
    after: [...creates("personal"), ...imports, ...deploys.slice(0, 2)]
  }
]

describe("fly/deploy.sh stops and says what to do", () => {
  it.effect.each(failures)("on $what, and goes on from there", ({ failing, says, after }) =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.set({ failing })
      const stopped = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(stopped.code, 1)
      assert.include(stopped.said, says)
      assert.include(stopped.said, "run fly/deploy.sh again")
      assert.deepEqual(fly.commands(), after, "and nothing after it")
      showsNoSecret(stopped.said)
      fly.set({ failing: "nothing" })
      const again = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(again.code, 0, again.said)
      for (const app of appNames) assert.isAbove(fly.state().apps[app]?.releases ?? 0, 0)
    })
  )

  it.effect("on an app that is not healthy, before it deploys the next", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.set({ ill: apps.maintainer })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, `${apps.maintainer} is deployed but not healthy`)
      assert.include(said, `flyctl releases --app ${apps.maintainer}`)
      assert.strictEqual(fly.state().apps[apps.orchestrator]?.releases, 0)
    })
  )

  it.effect("without a login", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.set({ loggedIn: false })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, "flyctl auth login")
      assert.deepEqual(fly.state().apps, {})
    })
  )

  it.effect("without flyctl", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.withoutFlyctl()
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, "there is no flyctl")
      const dry = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.strictEqual(dry.code, 0, dry.said)
      assert.include(dry.said, "There is no flyctl: Fly is not asked")
      for (const command of [...creates("personal"), ...deploys]) assert.include(dry.said, `$ flyctl ${command}`)
      showsNoSecret(dry.said)
      fly.setEnv({})
      const wrong = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.strictEqual(wrong.code, 1)
      assert.match(wrong.said, /ADMIN_KEY is missing/)
    })
  )
})
