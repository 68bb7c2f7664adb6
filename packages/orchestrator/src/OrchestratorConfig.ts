import { CronText, TimezoneName } from "@medipim/domain/Schedule"
import { largestChunk, smallestChunk } from "@medipim/domain/SyncOptions"
import {
  databaseSettings,
  httpUrl,
  lengthOfTime,
  operatorSecret,
  serverSettings,
  wholeNumber
} from "@medipim/platform/process/ServiceSettings"
import { loadSettings, optional, withDefault } from "@medipim/platform/process/Settings"
import { Duration } from "effect"

/** The environment of the orchestrator. */
export const orchestratorConfig = loadSettings({
  ...serverSettings("ORCHESTRATOR_PORT", 3003),
  ...databaseSettings,
  fetcherUrl: withDefault("FETCHER_URL", "address of the fetcher", httpUrl, "http://localhost:3001"),
  maintainerUrl: withDefault("MAINTAINER_URL", "address of the maintainer", httpUrl, "http://localhost:3002"),
  fetcherWakeUrl: optional("FETCHER_WAKE_URL", "public address that starts a sleeping fetcher", httpUrl),
  maintainerWakeUrl: optional("MAINTAINER_WAKE_URL", "public address that starts a sleeping maintainer", httpUrl),
  chunkSize: withDefault(
    "CHUNK_SIZE",
    "records staged in one call when a sync does not say",
    wholeNumber(smallestChunk, largestChunk),
    20_000
  ),
  chunkConcurrency: withDefault("CHUNK_CONCURRENCY", "chunks staged at once", wholeNumber(1, 8), 2),
  maxRunDuration: withDefault(
    "MAX_RUN_DURATION",
    "a run that takes longer is stopped",
    lengthOfTime,
    Duration.hours(4)
  ),
  historyDays: withDefault("HISTORY_DAYS", "how long runs and changes of products are kept", wholeNumber(1, 3650), 90),
  cron: optional("SYNC_CRON", "when a sync starts by itself, in SYNC_TIMEZONE", {
    schema: CronText,
    expects: "a cron of five fields (minute hour day month weekday) that some moment matches"
  }),
  timezone: withDefault(
    "SYNC_TIMEZONE",
    "whose clock SYNC_CRON goes by",
    { schema: TimezoneName, expects: "the name of a time zone, such as Australia/Sydney" },
    "Australia/Sydney"
  ),
  notifyUrl: optional(...operatorSecret("NOTIFY_URL"))
})
