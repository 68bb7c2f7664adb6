import { assert, describe, it } from "@effect/vitest"
import { allStatuses } from "@medipim/domain/MediPim"
import { ConfigProvider, Effect, type Layer } from "effect"
import { fetcherConfig } from "../src/FetcherConfig.ts"

const needed = {
  ADMIN_KEY: "k".repeat(32),
  MEDIPIM_API_KEY_ID: "7",
  MEDIPIM_API_KEY_SECRET: "a-secret-for-tests-only",
  SNAPSHOT_DIR: "/data"
}
const load = (filter: string) =>
  fetcherConfig.pipe(
    Effect.provide(
      ConfigProvider.layer(ConfigProvider.fromUnknown({ ...needed, MEDIPIM_FILTER: filter })) as Layer.Layer<never>
    )
  )

describe("MEDIPIM_FILTER", () => {
  it.effect("is every documented status when nothing is said", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* load("")).filter, allStatuses)
      assert.deepStrictEqual(allStatuses, { status: ["active", "inactive", "replaced"] })
    })
  )

  it.effect("is the filter that it says, nested or not", () =>
    Effect.gen(function* () {
      for (const filter of [{ organization: [2050] }, { and: [{ status: "active" }, { not: { brand: [7] } }] }]) {
        assert.deepStrictEqual((yield* load(JSON.stringify(filter))).filter, filter)
      }
    })
  )

  it.effect("is refused when it is no JSON object, with an example of one", () =>
    Effect.gen(function* () {
      for (const text of ["{not json", '"active"', "[2050]", "null", "7"]) {
        const { message } = yield* Effect.flip(load(text))
        assert.include(message, 'MEDIPIM_FILTER is not a JSON object such as {"organization":[2050]}', text)
      }
    })
  )
})
