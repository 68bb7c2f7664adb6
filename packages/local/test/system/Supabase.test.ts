import { assert, layer } from "@effect/vitest"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { sync, TestStack } from "./TestStack.ts"

const products = 400

const onSupabase = Layer.unwrap(
  Effect.map(SupabaseStandIn, ({ url, key }) =>
    TestStack.layer(products, { SUPABASE_URL: url, SUPABASE_SERVICE_ROLE_KEY: key })
  )
).pipe(Layer.provideMerge(SupabaseStandIn.layer))

layer(onSupabase, { excludeTestServices: true, timeout: "60 seconds" })(
  "The whole system on Supabase Storage",
  (it) => {
    it.effect("makes its bucket and brings every product into the table", () =>
      Effect.gen(function* () {
        const run = yield* sync()
        assert.deepInclude(run, { status: "succeeded", published: true })
        const sql = yield* SqlClient
        const [row] = yield* sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM public.products`
        assert.strictEqual(row?.n, products)
      })
    )

    it.effect("comes through a store that has its bad moments", () =>
      Effect.gen(function* () {
        const { control } = yield* TestStack
        const { trouble } = yield* SupabaseStandIn
        yield* control("POST /control/changes", { update: 9 })
        trouble("unavailable", "answer-lost", "slow-down", "cut-body", "html", "answer-lost", "unavailable")
        const run = yield* sync()
        assert.deepInclude(run, { status: "succeeded", published: true }, JSON.stringify(run.failure))
        assert.strictEqual(run.progress.updated, 9)
      })
    )
  }
)
