import { allStatuses } from "@medipim/domain/MediPim"
import type { SourceRequest } from "@medipim/domain/Snapshot"
import {
  httpUrl,
  secret,
  serverSettings,
  sleepSettings,
  storeSettings,
  text,
  wholeNumber
} from "@medipim/platform/ServiceSettings"
import { type Form, loadSettings, required, withDefault } from "@medipim/platform/Settings"
import { Schema } from "effect"
import { usualPartBytes } from "./PartWriter.ts"

const filter: Form<SourceRequest["filter"]> = {
  schema: Schema.fromJsonString(Schema.Record(Schema.String, Schema.Json)),
  expects: 'a JSON object such as {"organization":[2050]}'
}

/** The environment of the fetcher. */
export const fetcherConfig = loadSettings({
  ...serverSettings("FETCHER_PORT", 3001),
  ...sleepSettings,
  ...storeSettings,
  url: withDefault(
    "MEDIPIM_API_URL",
    "address of the MediPim product stream",
    httpUrl,
    "https://api.au.medipim.com/v4/products/stream"
  ),
  keyId: required("MEDIPIM_API_KEY_ID", "id of the MediPim API key", text),
  keySecret: required("MEDIPIM_API_KEY_SECRET", "secret of the MediPim API key", secret),
  filter: withDefault("MEDIPIM_FILTER", "which products to download; default all of them", filter, allStatuses),
  requestTimeout: withDefault(
    "REQUEST_TIMEOUT",
    "milliseconds without a byte after which a download is broken",
    wholeNumber(100, 300_000),
    60_000
  ),
  partBytes: withDefault(
    "PART_BYTES",
    "bytes before compression after which a part is stored and the next begun",
    wholeNumber(1_000_000, usualPartBytes),
    usualPartBytes
  )
})
