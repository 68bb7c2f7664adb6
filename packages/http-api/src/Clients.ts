import { Context, Layer, Redacted } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { type HttpApi, HttpApiClient, type HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { AdminKey, adminKeyHeader } from "./AdminKey.ts"
import { FetcherApi } from "./FetcherApi.ts"
import { MaintainerApi } from "./MaintainerApi.ts"
import { OrchestratorApi } from "./OrchestratorApi.ts"

/** Where a service is and the key that it asks for. */
export interface Address {
  readonly baseUrl: string
  readonly adminKey: Redacted.Redacted
}

/** Puts the admin key on every guarded request. */
const adminKeyLayer = (key: Redacted.Redacted) =>
  HttpApiMiddleware.layerClient(AdminKey, ({ next, request }) =>
    next(HttpClientRequest.setHeader(request, adminKeyHeader, Redacted.value(key)))
  )

const clientOf = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  address: Address
) =>
  HttpApiClient.make(api, {
    transformClient: HttpClient.mapRequest(HttpClientRequest.prependUrl(address.baseUrl))
  })

/** The typed client of the fetcher. */
export class FetcherClient extends Context.Service<FetcherClient, HttpApiClient.ForApi<typeof FetcherApi>>()(
  "http-api/FetcherClient"
) {
  static readonly layer = (address: Address) =>
    Layer.effect(FetcherClient, clientOf(FetcherApi, address)).pipe(Layer.provide(adminKeyLayer(address.adminKey)))
}

/** The typed client of the maintainer. */
export class MaintainerClient extends Context.Service<MaintainerClient, HttpApiClient.ForApi<typeof MaintainerApi>>()(
  "http-api/MaintainerClient"
) {
  static readonly layer = (address: Address) =>
    Layer.effect(MaintainerClient, clientOf(MaintainerApi, address)).pipe(
      Layer.provide(adminKeyLayer(address.adminKey))
    )
}

/** The typed client of the orchestrator. */
export class OrchestratorClient extends Context.Service<
  OrchestratorClient,
  HttpApiClient.ForApi<typeof OrchestratorApi>
>()("http-api/OrchestratorClient") {
  static readonly layer = (address: Address) =>
    Layer.effect(OrchestratorClient, clientOf(OrchestratorApi, address)).pipe(
      Layer.provide(adminKeyLayer(address.adminKey))
    )
}
