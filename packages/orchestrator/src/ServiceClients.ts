import { FetcherClient, MaintainerClient } from "@medipim/http-api/Clients"
import { Layer, type Option, type Redacted } from "effect"
import { MachineWaker } from "./MachineWaker.ts"

/** The two services that the orchestrator calls, and how they are woken. */
export const layer = (config: {
  readonly adminKey: Redacted.Redacted
  readonly fetcherUrl: string
  readonly maintainerUrl: string
  readonly fetcherWakeUrl: Option.Option<string>
  readonly maintainerWakeUrl: Option.Option<string>
}) =>
  Layer.mergeAll(
    FetcherClient.layer({ baseUrl: config.fetcherUrl, adminKey: config.adminKey }),
    MaintainerClient.layer({ baseUrl: config.maintainerUrl, adminKey: config.adminKey }),
    MachineWaker.layer({ fetcher: config.fetcherWakeUrl, maintainer: config.maintainerWakeUrl })
  )
