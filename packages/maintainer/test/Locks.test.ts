import { assert, layer } from "@effect/vitest"
import { currentWaits } from "@medipim/platform/process/Outage"
import { holdTransaction } from "@medipim/testing/HeldTransaction"
import { Effect, Fiber, Option, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { empty, products, services, stagedRun, sync } from "./Fixture.ts"

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A lock of somebody else", (it) => {
  it.effect("on the staging tables, as a backup or an open table view has it, holds nothing up", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const staged = yield* stagedRun(products(40))
      yield* holdTransaction("LOCK medipim.stage_products, medipim.stage_batches IN ACCESS SHARE MODE")
      const { counts } = yield* (yield* Publish).run(staged).pipe(Effect.timeout("10 seconds"))
      assert.deepInclude(counts, { inserted: 10, unchanged: 30 })
      const sql = yield* SqlClient
      // The publish answers before the staging tables are empty.
      yield* sql`SELECT FROM medipim.stage_products UNION ALL SELECT FROM medipim.stage_batches`.pipe(
        Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("50 millis") }),
        Effect.timeout("20 seconds")
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is not asked for to give the space of what was staged back", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const givenBack = sql`SELECT FROM pg_class
        WHERE oid IN ('medipim.stage_products'::regclass, 'medipim.stage_batches'::regclass) AND pg_relation_size(oid) > 0`.pipe(
        Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("50 millis") }),
        Effect.timeoutOption("5 seconds")
      )
      // While Postgres analyses a table by itself, deleted rows keep their space until the next sync.
      const found = yield* sync(products(3000)).pipe(
        Effect.andThen(givenBack),
        Effect.repeat({ until: Option.isSome, times: 5 })
      )
      assert.isTrue(Option.isSome(found))
    })
  )

  it.effect("on the products is waited for, and shown with who holds it", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const staged = yield* stagedRun(products(31))
      const publishing = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* holdTransaction("LOCK public.products IN SHARE MODE")
          const fiber = yield* Effect.forkDetach((yield* Publish).run(staged))
          const [wait] = yield* currentWaits.pipe(
            Effect.repeat({ until: (waits) => waits.length > 0, schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("20 seconds")
          )
          assert.strictEqual(wait?.what, "a lock in the database")
          assert.match(
            wait?.reason ?? "",
            /^process \d+ \(medipim-maintainer-test, role postgres, in a transaction since 20.*\) holds it$/
          )
          return fiber
        })
      )
      assert.deepInclude((yield* Fiber.join(publishing)).counts, { inserted: 1 })
      assert.deepStrictEqual(yield* currentWaits, [])
    })
  )
})
