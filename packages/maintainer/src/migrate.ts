import "@medipim/platform/Node24"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { migrate } from "@medipim/platform/Migrations"
import * as Postgres from "@medipim/platform/Postgres"
import { runOnce } from "@medipim/platform/Service"
import { databaseSettings } from "@medipim/platform/ServiceSettings"
import { loadSettings } from "@medipim/platform/Settings"
import { Effect, Layer } from "effect"

const program = Effect.gen(function* () {
  const config = yield* loadSettings(databaseSettings)
  const applied = yield* migrate.pipe(
    Effect.provide(Layer.merge(Postgres.layer(config, "medipim-migrate"), NodeServices.layer))
  )
  const names = applied.map(([id, name]) => `${String(id).padStart(4, "0")}_${name}`)
  yield* Effect.logInfo(names.length === 0 ? "The database is up to date" : `Migrated: ${names.join(", ")}`)
})

runOnce("migrate", program)
