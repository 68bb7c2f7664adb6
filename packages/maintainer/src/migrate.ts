import "@medipim/platform/process/Node24"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { migrate } from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { runOnce } from "@medipim/platform/process/Service"
import { databaseSettings } from "@medipim/platform/process/ServiceSettings"
import { loadSettings } from "@medipim/platform/process/Settings"
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
