import "@medipim/platform/process/Node24"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { FetcherApi } from "@medipim/http-api/FetcherApi"
import * as ApiServer from "@medipim/platform/http/ApiServer"
import { Draining } from "@medipim/platform/process/Draining"
import * as Service from "@medipim/platform/process/Service"
import { storeLayer } from "@medipim/platform/store/Snapshots"
import { Effect, Layer } from "effect"
import { Checkpoints } from "./Checkpoints.ts"
import { Download } from "./Download.ts"
import { fetcherConfig, userAgent } from "./FetcherConfig.ts"
import * as FetcherHttp from "./FetcherHttp.ts"
import { Job } from "./Job.ts"
import * as MediPimHttp from "./MediPimHttp.ts"
import { Snapshots } from "./Snapshots.ts"

const Main = Layer.unwrap(
  Effect.map(fetcherConfig, (config) =>
    ApiServer.layer(FetcherApi, config).pipe(
      Layer.provide(FetcherHttp.layer.pipe(Layer.provide(ApiServer.middlewareLayer(config)))),
      Layer.provide([Job.layer, Download.layer(config)]),
      Layer.provide([MediPimHttp.layer({ ...config, userAgent: userAgent(config.contact) }), Snapshots.layer]),
      Layer.provide(Checkpoints.layer),
      Layer.provide([storeLayer(config), NodeHttpClient.layerUndici, Draining.layer])
    )
  )
)

Service.run("fetcher", Main)
