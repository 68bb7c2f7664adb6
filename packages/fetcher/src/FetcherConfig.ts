import { allStatuses } from "@medipim/domain/MediPim"
import type { SourceRequest } from "@medipim/domain/Snapshot"
import {
  httpUrl,
  lengthOfTime,
  operatorSecret,
  operatorVariable,
  serverSettings,
  sleepSettings,
  storeSettings,
  wholeNumber
} from "@medipim/platform/process/ServiceSettings"
import { type Form, loadSettings, required, withDefault } from "@medipim/platform/process/Settings"
import { version } from "@medipim/platform/process/Telemetry"
import { Duration, Schema } from "effect"
import { usualPartBytes } from "./PartWriter.ts"

const filter: Form<SourceRequest["filter"]> = {
  schema: Schema.fromJsonString(Schema.Record(Schema.String, Schema.Json)),
  expects: 'a JSON object such as {"organization":[2050]}'
}

/** The User-Agent sent to MediPim: product, version and how to reach the operator. */
export const userAgent = (contact: string): string => `MediPim-AU-Sync/${version} (${contact})`

/** It stands in a header. */
const contact: Form<string> = {
  schema: Schema.String.check(Schema.isPattern(/^[\x20-\x7e]{1,200}$/)),
  expects: "at most 200 printable ASCII characters"
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
  keyId: required(...operatorVariable("MEDIPIM_API_KEY_ID")),
  keySecret: required(...operatorSecret("MEDIPIM_API_KEY_SECRET")),
  filter: withDefault("MEDIPIM_FILTER", "which products to download; default all of them", filter, allStatuses),
  contact: withDefault(
    "MEDIPIM_CONTACT",
    "how MediPim can reach who runs this: an address or a telephone number, sent as part of the User-Agent",
    contact,
    "contact: the holder of the API key"
  ),
  minRecordRate: withDefault(
    "MIN_RECORD_RATE",
    "records a second, over RECORD_RATE_WINDOW, below which a download counts as broken",
    wholeNumber(0, 100_000),
    10
  ),
  recordRateWindow: withDefault(
    "RECORD_RATE_WINDOW",
    "the time over which the rate of records is taken",
    lengthOfTime,
    Duration.minutes(2)
  ),
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
