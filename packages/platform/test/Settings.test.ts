import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, type Layer, Option, Redacted } from "effect"
import { databaseSettings, serverSettings, storeSettings, wholeNumber } from "../src/process/ServiceSettings.ts"
import { loadSettings, withDefault } from "../src/process/Settings.ts"

const load = (environment: Record<string, string>) =>
  loadSettings({
    ...serverSettings("FETCHER_PORT", 3001),
    ...storeSettings,
    ...databaseSettings,
    batch: withDefault("BATCH_SIZE", "lines at once", wholeNumber(10, 5000), 500)
  }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)) as Layer.Layer<never>))

const key = "k".repeat(32)
const complete = { ADMIN_KEY: key, DATABASE_URL: "postgres://u:secret-of-the-database@db/x", SNAPSHOT_DIR: "/data" }

const problemsOf = (environment: Record<string, string>) =>
  Effect.map(Effect.flip(load(environment)), (error) =>
    error._tag === "InvalidSettings" ? error.problems.map((problem) => problem.split(" ")[0]) : [error._tag]
  )

describe("Settings", () => {
  it.effect("takes defaults for what is not set, and an empty value for not set", () =>
    Effect.gen(function* () {
      const settings = yield* load({ ...complete, FETCHER_PORT: "", ADMIN_KEY_PREVIOUS: " " })
      assert.deepInclude(settings, { port: 3001, metricsPort: 9091, batch: 500, bucket: "medipim-raw" })
      assert.deepStrictEqual(settings.previousAdminKey, Option.none())
      assert.strictEqual(Redacted.value(settings.adminKey), key)
    })
  )

  it.effect("names every variable that is missing, with what it is for", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* problemsOf({}), [
        "ADMIN_KEY",
        "SUPABASE_URL",
        "SUPABASE_SERVICE_ROLE_KEY",
        "DATABASE_URL"
      ])
      const error = yield* Effect.flip(load({}))
      assert.include(error.message, "ADMIN_KEY is missing: the key that callers send as X-ADMIN-KEY")
    })
  )

  it.effect("refuses keys that no header can carry, with the cure", () =>
    Effect.gen(function* () {
      for (const [wrong, problem] of [
        [`${key}\n`, "ADMIN_KEY ends with a line break"],
        [`${key}\r\n`, "ADMIN_KEY ends with a line break"],
        [`${key}\u00e9`, "ADMIN_KEY has a blank or a character that no header can carry"],
        [`${key} x`, "ADMIN_KEY has a blank or a character that no header can carry"],
        [`${key}\u007f`, "ADMIN_KEY has a blank or a character that no header can carry"]
      ] as const) {
        const { message } = yield* Effect.flip(load({ ...complete, ADMIN_KEY: wrong }))
        assert.include(message, problem)
        assert.notInclude(message, key)
      }
      assert.deepStrictEqual(
        yield* problemsOf({
          ...complete,
          SNAPSHOT_DIR: "",
          SUPABASE_URL: "https://x.supabase.co",
          SUPABASE_SERVICE_ROLE_KEY: "k\u00e9y"
        }),
        ["SUPABASE_SERVICE_ROLE_KEY"]
      )
    })
  )

  it.effect("names every variable that is wrong, and shows no value of any", () =>
    Effect.gen(function* () {
      const wrong = {
        ADMIN_KEY: "too-short-to-be-a-key",
        ADMIN_KEY_PREVIOUS: "also-too-short",
        FETCHER_PORT: "70000",
        METRICS_PORT: "nine",
        DATABASE_URL: "mysql://u:secret-of-the-database@db",
        DATABASE_CONNECTIONS: "1.5",
        BATCH_SIZE: "3",
        SUPABASE_URL: "project.supabase.co",
        SUPABASE_SERVICE_ROLE_KEY: "two words"
      }
      assert.deepStrictEqual([...(yield* problemsOf(wrong))].sort(), Object.keys(wrong).sort())
      const { message } = yield* Effect.flip(load(wrong))
      for (const value of Object.values(wrong)) assert.notInclude(message, `${value} `)
      for (const secret of ["too-short-to-be-a-key", "secret-of-the-database", "two words"]) {
        assert.notInclude(message, secret)
      }
    })
  )

  it.effect("asks for Supabase only when there is no folder for snapshots", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* load(complete)).supabaseUrl, Option.none())
      const { SNAPSHOT_DIR: _folder, ...without } = complete
      assert.deepStrictEqual(yield* problemsOf(without), ["SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"])
    })
  )

  const addressOf = (password: string) => `postgres://postgres:${password}@db.example.org:5432/postgres`
  for (const [what, password, cure] of [
    ["%", "secret%pass", "% as %25"],
    ["#", "secret#pass", "# as %23"],
    ["/", "secret/pass", "/ as %2F"],
    ["?", "secret?pass", "? as %3F"],
    ["@", "secret@pass", "@ as %40"],
    ["#%/", "se#cr%et/pass", "% as %25"]
  ] as const) {
    it.effect(`names DATABASE_URL and the cure when the password has a bare ${what}`, () =>
      Effect.gen(function* () {
        const { message } = yield* Effect.flip(load({ ...complete, DATABASE_URL: addressOf(password) }))
        assert.match(message, /\n {2}DATABASE_URL /)
        assert.include(message, cure)
        for (const piece of ["secret", "pass@", "se#", "et/"]) assert.notInclude(message, piece)
        const encoded = addressOf(encodeURIComponent(password))
        assert.strictEqual(
          Redacted.value((yield* load({ ...complete, DATABASE_URL: encoded })).databaseUrl),
          encoded,
          "written as it says, it is taken"
        )
      })
    )
  }

  const supabase = (settings: Record<string, string>) => {
    const { SNAPSHOT_DIR: _folder, ...without } = complete
    const good = { SUPABASE_URL: "https://x.supabase.co/", SUPABASE_SERVICE_ROLE_KEY: "sb_secret_0123456789" }
    return load({ ...without, ...good, ...settings })
  }
  for (const [what, settings, cure] of [
    ["an address of its Storage", { SUPABASE_URL: "https://x.supabase.co/storage/v1" }, "SUPABASE_URL has a path"],
    ["an address of its REST API", { SUPABASE_URL: "https://x.supabase.co/rest/v1/" }, "SUPABASE_URL has a path"],
    ["the transaction pooler", { DATABASE_URL: "postgres://u:p@pooler.supabase.com:6543/postgres" }, "port 5432"]
  ] as const) {
    it.effect(`refuses ${what} before anything is asked, with the cure`, () =>
      Effect.gen(function* () {
        const { message } = yield* Effect.flip(supabase(settings))
        assert.include(message, cure)
      })
    )
  }

  it.effect("takes the address and the keys of Supabase as it shows them", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* supabase({})).supabaseUrl, Option.some("https://x.supabase.co"))
      const token = "eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl"
      const { serviceRoleKey } = yield* supabase({ SUPABASE_SERVICE_ROLE_KEY: token })
      assert.deepStrictEqual(Option.map(serviceRoleKey, Redacted.value), Option.some(token))
    })
  )
})
