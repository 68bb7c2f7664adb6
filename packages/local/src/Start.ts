import { Console, Effect } from "effect"
import { firstSync } from "./FirstSync.ts"
import { logs, startStack } from "./Stack.ts"

/** Ends the process with this code once everything is stopped. */
const exitWith = (code: number) =>
  Effect.sync(() => {
    process.exitCode = code
  })

const tour = (addresses: Readonly<Record<string, string>>): string => `
The stack is up. It stops with Ctrl-C; its data stays in .local/.

  orchestrator  ${addresses.ORCHESTRATOR_URL}/docs
  fetcher       ${addresses.FETCHER_URL}/docs
  maintainer    ${addresses.MAINTAINER_URL}/docs
  simulator     ${addresses.SIMULATOR_URL}
  database      DATABASE_URL in .local/stack.env, with the admin key
  logs          ${logs}

Change the catalogue and sync again, in another terminal:

  curl -s ${addresses.SIMULATOR_URL}/control/changes -d '{"update":50,"remove":3,"deactivate":5}'
  npm run -s medipim -- sync
`

/** Starts everything, syncs once, and runs until it is stopped. */
export const run = Effect.fn("Start.run")(
  function* ({ once, products }: { readonly once: boolean; readonly products: number }) {
    yield* Console.error(`Starting Postgres, a MediPim simulator with ${products} products, and the three services ...`)
    const { addresses, environment, died } = yield* startStack(products)
    const code = yield* Effect.raceFirst(firstSync(environment), died)
    if (once) return yield* exitWith(code)
    yield* Console.error(tour(addresses))
    return yield* died
  },
  Effect.scoped,
  Effect.catch((error) => Effect.andThen(Console.error(error.message), exitWith(1)))
)
