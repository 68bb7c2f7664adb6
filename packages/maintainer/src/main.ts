import "@medipim/platform/process/Node24"
import { MaintainerApi } from "@medipim/http-api/MaintainerApi"
import * as Migrations from "@medipim/platform/database/Migrations"
import * as Postgres from "@medipim/platform/database/Postgres"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import * as ApiServer from "@medipim/platform/http/ApiServer"
import { Draining } from "@medipim/platform/process/Draining"
import * as Service from "@medipim/platform/process/Service"
import * as Snapshots from "@medipim/platform/store/Snapshots"
import { Effect, Layer } from "effect"
import { ChunkStager } from "./ChunkStager.ts"
import { Jobs } from "./Jobs.ts"
import { maintainerConfig } from "./MaintainerConfig.ts"
import * as MaintainerHttp from "./MaintainerHttp.ts"
import { ProductTable } from "./ProductTable.ts"
import { Publish } from "./Publish.ts"
import { RejectedRecords } from "./RejectedRecords.ts"
import { Replay } from "./Replay.ts"
import { SnapshotReader } from "./SnapshotReader.ts"
import { StagingTables } from "./StagingTables.ts"

const Main = Layer.unwrap(
  Effect.map(maintainerConfig, (config) =>
    ApiServer.layer(MaintainerApi, config).pipe(
      Layer.provide(MaintainerHttp.layer.pipe(Layer.provide(ApiServer.middlewareLayer(config)))),
      Layer.provide([Jobs.layer, Publish.layer(config.toleratedFields), Replay.layer]),
      Layer.provide([ChunkStager.layer(config.batchSize), RejectedRecords.layer]),
      Layer.provide([StagingTables.layer, ProductTable.layer, SnapshotReader.layer]),
      Layer.provide([PublishOrder.layer, RunRecords.layer]),
      Layer.provide(Migrations.layer),
      Layer.provide([Snapshots.storeLayer(config), Postgres.layer(config, "medipim-maintainer"), Draining.layer])
    )
  )
)

Service.run("maintainer", Main)
