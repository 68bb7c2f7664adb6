import {
  databaseSettings,
  names,
  serverSettings,
  sleepSettings,
  storeSettings,
  wholeNumber
} from "@medipim/platform/process/ServiceSettings"
import { loadSettings, withDefault } from "@medipim/platform/process/Settings"

/** The environment of the maintainer. */
export const maintainerConfig = loadSettings({
  ...serverSettings("MAINTAINER_PORT", 3002),
  ...databaseSettings,
  ...sleepSettings,
  ...storeSettings,
  toleratedFields: withDefault(
    "TOLERATED_FIELDS",
    "fields that may come in an unknown shape, or without the values they had, in any number of products",
    names,
    new Set()
  ),
  batchSize: withDefault("BATCH_SIZE", "lines compared and written at once", wholeNumber(10, 5000), 500)
})
