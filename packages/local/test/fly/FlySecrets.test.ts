import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import {
  databaseSettings,
  operatorSecret,
  operatorVariable,
  serverSettings,
  storeSettings
} from "@medipim/platform/process/ServiceSettings"
import { loadSettings, optional, required } from "@medipim/platform/process/Settings"
import { ConfigProvider, Effect } from "effect"
import { root } from "../../src/Workspace.ts"
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
      assert.include(said, "DATABASE_URL is the transaction pooler")
      for (const name of ["MEDIPIM_API_KEY_ID", "MEDIPIM_API_KEY_SECRET", "SUPABASE_SERVICE_ROLE_KEY"]) {
        assert.include(said, `${name} is missing`)
      }
      assert.notInclude(said, "too-short")
      assert.notInclude(said, "secret-of-the-database")
      assert.notInclude(said, "SUPABASE_URL is")
      assert.deepEqual(fly.commands(), [])
    })
  )

  const anonKey = `e30.${Buffer.from('{"role":"anon"}').toString("base64url")}.c2lnbmF0dXJl`
  const database = (password: string, end = "db.test:5432/postgres") => `postgres://u:${password}@${end}`
  const wrong: ReadonlyArray<readonly [name: keyof typeof environment | "NOTIFY_URL", value: string, problem: string]> =
    [
      ["ADMIN_KEY", "too-short-for-a-key", "is not at least 32 characters"],
      ["ADMIN_KEY", `${"k".repeat(40)}\u00e9`, "has a blank or a character that no header can carry"],
      ["ADMIN_KEY", `${"k".repeat(40)} x`, "has a blank or a character that no header can carry"],
      ["ADMIN_KEY", `${"k".repeat(40)}\n`, "ends with a line break"],
      ["MEDIPIM_API_KEY_ID", "42:of-the-key", "is not an id without blanks and colons"],
      ["MEDIPIM_API_KEY_SECRET", "se\u200bcret-of-medipim", "has a blank or a character"],
      ["SUPABASE_URL", "project-of-the-test.supabase.co", "is not an http:// or https:// address"],
      ["SUPABASE_URL", "https://project-of-the-test.supabase.co/storage/v1", "has a path"],
      ["SUPABASE_SERVICE_ROLE_KEY", "sb_publishable_of-a-web-page-0123456789", "is the publishable key"],
      ["SUPABASE_SERVICE_ROLE_KEY", anonKey, "is the anon key"],
      ["SUPABASE_SERVICE_ROLE_KEY", "two-words of-a-key", "has a blank or a character"],
      ["DATABASE_URL", database("word-of-the-database").replace("postgres:", "mysql:"), "is not a postgres:// address"],
      ["DATABASE_URL", database("word%of-the-database"), "has a bare %"],
      ["DATABASE_URL", database("word@of-the-database"), "has a bare @"],
      ["DATABASE_URL", database("word#of-the-database"), "cannot be read as an address"],
      ["DATABASE_URL", database("word-of-the-database", "db.test:5432/postgres#there"), "has a bare #"],
      ["DATABASE_URL", database("word/of-the-database"), "cannot be read as an address"],
      ["DATABASE_URL", database("word-of-the-database", "pooler.test:6543/postgres"), "is the transaction pooler"],
      ["NOTIFY_URL", "hooks.test/token-of-a-channel", "is not an http:// or https:// address"]
    ]
  it.effect.each(wrong)("says of %s what the services say: %s %s", ([name, value, problem]) =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.setEnv({ ...environment, [name]: value })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
      assert.strictEqual(code, 1)
      assert.include(said, `${name} ${problem}`)
      assert.notInclude(said, value)
      assert.notInclude(said, "of-the-database")
      const [line] = said.split("\n").filter((text) => text.trimStart().startsWith(`${name} `))
      const { problems } = yield* Effect.flip(
        loadSettings({
          ...serverSettings("FETCHER_PORT", 3001),
          ...storeSettings,
          ...databaseSettings,
          keyId: required(...operatorVariable("MEDIPIM_API_KEY_ID")),
          keySecret: required(...operatorSecret("MEDIPIM_API_KEY_SECRET")),
          notifyUrl: optional(...operatorSecret("NOTIFY_URL"))
        }).pipe(
          Effect.provideService(
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromUnknown({ ...environment, [name]: value })
          ),
          Effect.catchTag("ConfigError", Effect.die)
        )
      )
      assert.deepStrictEqual([line?.trim()], [...problems])
    })
  )

  it.effect("takes both forms of the secret key of Supabase", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      for (const key of ["sb_secret_of-a-server-0123456789", "header.of-a-service-role.signature"]) {
        fly.setEnv({ ...environment, SUPABASE_SERVICE_ROLE_KEY: key })
        const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--dry-run"]))
        assert.strictEqual(code, 0, said)
      }
    })
  )

  it.effect("refuses an address of Supabase to which the key would go in plain text", () =>
    Effect.gen(function* () {
      const fly = yield* flyHouse
      fly.setEnv({ ...environment, SUPABASE_URL: "http://project-of-the-test.supabase.co" })
      const { code, said } = yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))
      assert.strictEqual(code, 1)
      assert.include(said, "SUPABASE_URL is not https://")
      assert.deepEqual(fly.commands(), [])
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
