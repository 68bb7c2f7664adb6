import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { root } from "../src/Workspace.ts"
import { environment, flyHouse, lineOf, type Variables } from "./FlyHouse.ts"
import { appNames, apps } from "./FlyNames.ts"

describe("fly/deploy.sh and the variables of .env", () => {
  it.effect("sends the optional secrets when they are set", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const previous = "previous-key-of-the-operator-0123456789"
      fly.setEnv({ ...environment, NOTIFY_URL: "https://hooks.test/token", ADMIN_KEY_PREVIOUS: previous })
      yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      const { apps: deployed } = fly.state()
      assert.strictEqual(deployed[apps.orchestrator]?.secrets.NOTIFY_URL, "https://hooks.test/token")
      assert.isUndefined(deployed[apps.fetcher]?.secrets.NOTIFY_URL)
      for (const app of appNames) assert.strictEqual(deployed[app]?.secrets.ADMIN_KEY_PREVIOUS, previous)
    })
  )

  it.effect("sends the certificate of the database, which has many lines, as one line that the services read", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const lines = [
        "-----BEGIN CERTIFICATE-----",
        "MIIDxDCCAqygAwIBAgIUbLxMod62P2ktCiAkxnKJwtE9VPYw==",
        "-----END CERTIFICATE-----"
      ]
      for (const end of ["\n", "\r\n", "\\n"]) {
        fly.setEnvText(
          `${fly.envText().replace(/^DATABASE_CA=[^"']*(["'])[^"']*\1\n/m, "")}DATABASE_CA='${lines.join(end)}'\n`
        )
        const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run", "--only", "maintainer"]))
        assert.strictEqual(code, 0, said)
        for (const service of ["maintainer", "orchestrator"]) {
          const sent = yield* Effect.promise(() =>
            fly.spawned("node", [join(root, "fly/secrets.mjs"), "lines", service, "DATABASE_CA"])
          )
          assert.strictEqual(sent.said, `DATABASE_CA="${lines.join("\\n")}"\n`)
        }
      }
      yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--only", "maintainer"]))
      assert.strictEqual(fly.state().apps[apps.maintainer]?.secrets.DATABASE_CA, lines.join("\\n"))
    })
  )

  it.effect("names what is set in .env and goes to no app, but not what is as in .env.example", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      const example = readFileSync(join(root, ".env.example"), "utf8")
      const others = { SYNC_CRON: "0 2 * * *", BUCKET: "another", MEDIPIM_FILTER: "{}", FLY_ORG: "pharmacy" }
      fly.setEnvText(
        `${example}\n${Object.entries({ ...environment, ...others })
          .map(lineOf)
          .join("")}`
      )
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.strictEqual(code, 0, said)
      const [, names = ""] = /^Not sent to Fly: (.*)\. Set .*fly\/\*\.toml/m.exec(said) ?? []
      assert.sameMembers(names.split(" "), ["SYNC_CRON", "BUCKET", "MEDIPIM_FILTER"])
      fly.setEnv(environment)
      const plain = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.notInclude(plain.said, "Not sent")
    })
  )

  it.effect("names every variable that is missing or wrong at once, and shows no value", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.setEnv({
        ADMIN_KEY: "too-short",
        SUPABASE_URL: "https://project.supabase.co",
        DATABASE_URL: "postgres://u:secret-of-the-database@pooler.test:6543/postgres"
      })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, "ADMIN_KEY is not at least 32 characters")
      assert.include(said, "not the transaction pooler")
      for (const name of ["MEDIPIM_API_KEY_ID", "MEDIPIM_API_KEY_SECRET", "SUPABASE_SERVICE_ROLE_KEY"]) {
        assert.include(said, `${name} is missing`)
      }
      assert.notInclude(said, "too-short")
      assert.notInclude(said, "secret-of-the-database")
      assert.notInclude(said, "SUPABASE_URL is")
      assert.deepEqual(fly.commands(), [])
    })
  )

  it.effect(
    "refuses the publishable key of Supabase in the place of the secret one, and takes both forms of that",
    () =>
      Effect.gen(function* () {
        const fly = yield* flyHouse
        const withKey = (key: string) =>
          Effect.promise(() => {
            fly.setEnv({ ...environment, SUPABASE_SERVICE_ROLE_KEY: key })
            return fly.run("deploy.sh", ["--dry-run"])
          })
        const publishable = "sb_publishable_of-a-web-page-0123456789"
        const { code, said } = yield* withKey(publishable)
        assert.strictEqual(code, 1)
        assert.include(said, "SUPABASE_SERVICE_ROLE_KEY is the publishable key: use the secret key, sb_secret_...")
        assert.notInclude(said, publishable)
        for (const key of ["sb_secret_of-a-server-0123456789", "header.of-a-service-role.signature"]) {
          const taken = yield* withKey(key)
          assert.strictEqual(taken.code, 0, taken.said)
        }
      })
  )

  it.effect("refuses a value that flyctl could not read", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.setEnvText(`${fly.envText()}MEDIPIM_API_KEY_SECRET='a"b'\n`)
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, 'MEDIPIM_API_KEY_SECRET holds a "')
    })
  )
})

/** Three apps that were deployed with other secrets than `.env` has by now. */
const deployedWith = Effect.fnUntraced(function* (changes: Variables) {
  const fly = yield* flyHouse
  const secrets = { ...environment, ...changes }
  const app = { org: "personal", staged: secrets, secrets, releases: 1 }
  fly.set({ apps: Object.fromEntries(appNames.map((name) => [name, app])) })
  return fly
})
const newer = "newer-key-of-the-operator-0123456789abcdef"

describe("fly/deploy.sh and an admin key that the apps do not have", () => {
  it.effect("does not put an old key back", () =>
    Effect.gen(function* () {
      const fly = yield* deployedWith({ ADMIN_KEY: newer })
      for (const args of [["--yes"], ["--dry-run"], ["--yes", "--only", "fetcher"]]) {
        const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", args))
        assert.strictEqual(code, 1)
        assert.include(said, "another one is in use")
        assert.include(said, "fly/rotate-admin-key.sh")
        assert.include(said, "fly/deploy.sh --new-key")
      }
      assert.deepEqual(fly.commands(), [])
      const kept = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--keep-secrets"]))
      assert.strictEqual(kept.code, 0, kept.said)
      assert.strictEqual(fly.state().apps[apps.fetcher]?.secrets.ADMIN_KEY, newer)
    })
  )

  it.effect("takes a new key for one that was lost with --new-key", () =>
    Effect.gen(function* () {
      const fly = yield* deployedWith({ ADMIN_KEY: newer })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--new-key"]))
      assert.strictEqual(code, 0, said)
      for (const app of appNames) assert.strictEqual(fly.state().apps[app]?.secrets.ADMIN_KEY, environment.ADMIN_KEY)
    })
  )

  it.effect("does not wait for an orchestrator that does not answer", () =>
    Effect.gen(function* () {
      const fly = yield* deployedWith({ ADMIN_KEY: newer })
      fly.set({ ill: apps.orchestrator })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes", "--only", "fetcher"]))
      assert.strictEqual(code, 0, said)
    })
  )

  it.effect("does not cut off who follows a rotation that was begun with another .env", () =>
    Effect.gen(function* () {
      const fly = yield* deployedWith({ ADMIN_KEY: newer, ADMIN_KEY_PREVIOUS: environment.ADMIN_KEY })
      for (const script of ["deploy.sh", "rotate-admin-key.sh"]) {
        const { code, said } = yield* Effect.promise(() => fly.run(script, script === "deploy.sh" ? ["--yes"] : []))
        assert.strictEqual(code, 1)
        assert.include(said, `${apps.fetcher} has an ADMIN_KEY_PREVIOUS`)
        assert.strictEqual(fly.env().ADMIN_KEY, environment.ADMIN_KEY)
      }
      assert.deepEqual(fly.commands(), [])
    })
  )
})
