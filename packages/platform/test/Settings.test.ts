import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, type Layer, Option, Redacted } from "effect"
import { databaseSettings, serverSettings, storeSettings, wholeNumber } from "../src/ServiceSettings.ts"
import { loadSettings, withDefault } from "../src/Settings.ts"

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
})
