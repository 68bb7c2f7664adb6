import { listenAddress, port, secret, text, wholeNumber } from "@medipim/platform/process/ServiceSettings"
import { loadSettings, optional, withDefault } from "@medipim/platform/process/Settings"
import { Redacted } from "effect"

/** The environment of the simulator; everything has a default, the key too: it opens nothing. */
export const simulatorConfig = loadSettings({
  port: withDefault("SIMULATOR_PORT", "port of the simulator", port, 3010),
  listenAddress: optional("LISTEN_ADDRESS", "the address that is listened on, by default all", listenAddress),
  products: withDefault("SIMULATOR_PRODUCTS", "products in the catalogue", wholeNumber(0, 2_000_000), 5000),
  seed: withDefault("SIMULATOR_SEED", "another seed gives another catalogue", wholeNumber(0, 2_147_483_647), 1),
  keyId: withDefault("SIMULATOR_KEY_ID", "id of the API key that is accepted", text, "1"),
  keySecret: withDefault(
    "SIMULATOR_KEY_SECRET",
    "secret of the API key that is accepted",
    secret,
    Redacted.make("simulator-secret-of-no-value")
  ),
  requestsPerMinute: withDefault(
    "SIMULATOR_REQUESTS_PER_MINUTE",
    "more are answered 429",
    wholeNumber(1, 1_000_000),
    100
  ),
  file: optional("SIMULATOR_FILE", "NDJSON, plain or .gz, to serve instead of a made catalogue", text)
})
