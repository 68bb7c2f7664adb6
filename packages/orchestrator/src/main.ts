import "@medipim/platform/process/Node24"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { OrchestratorApi } from "@medipim/http-api/OrchestratorApi"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import * as ApiServer from "@medipim/platform/http/ApiServer"
import { Draining } from "@medipim/platform/process/Draining"
import * as Service from "@medipim/platform/process/Service"
import { Effect, Layer } from "effect"
import * as Database from "./Database.ts"
import * as Engine from "./Engine.ts"
import { Notifier } from "./Notifier.ts"
import { orchestratorConfig } from "./OrchestratorConfig.ts"
import * as OrchestratorHttp from "./OrchestratorHttp.ts"
import { Runs } from "./Runs.ts"
import * as ServiceClients from "./ServiceClients.ts"
import { SnapshotSelection } from "./SnapshotSelection.ts"
import { Steps } from "./Steps.ts"
import * as Sync from "./Sync.ts"
import { SyncSchedule } from "./SyncSchedule.ts"
import { WaitReporter } from "./WaitReporter.ts"

const Main = Layer.unwrap(
  Effect.map(orchestratorConfig, (config) =>
    Layer.mergeAll(ApiServer.layer(OrchestratorApi, config), Runs.recovery, SyncSchedule.watch(config)).pipe(
      Layer.provide(OrchestratorHttp.layer.pipe(Layer.provide(ApiServer.middlewareLayer(config)))),
      Layer.provide(SyncSchedule.layer(config).pipe(Layer.provideMerge(Runs.layer(config.chunkSize)))),
      Layer.provide(Sync.layer),
      Layer.provide([Steps.layer(config), WaitReporter.layer]),
      Layer.provide([Notifier.layer(config.notifyUrl), SnapshotSelection.layer]),
      Layer.provide(ServiceClients.layer(config)),
      Layer.provide([Database.layer(config.historyDays), NodeHttpClient.layerUndici, Draining.layer]),
      Layer.provide(Engine.layer.pipe(Layer.provide(Migrations.layer))),
      Layer.provide(Postgres.layer(config, "medipim-orchestrator"))
    )
  )
)

Service.run("orchestrator", Main)
