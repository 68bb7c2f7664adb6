import { Effect, Schedule } from "effect"
import { asked } from "../harness/Arguments.ts"
import { afterBytes } from "../harness/ByteOffset.ts"
import { type Case, locked, trapped } from "../harness/Case.ts"
import { Environment, headers } from "../harness/Environment.ts"
import { readsPart, stores, storesManifest } from "../harness/StoreRoutes.ts"
import { held } from "./Held.ts"

/** What a run says that it waits for, as its record shows it; nothing while the orchestrator does not answer. */
const recordShows = (runId: string) =>
  Effect.flatMap(Environment, ({ orchestrators }) =>
    Effect.tryPromise(async (signal) => {
      const answer = await fetch(`${orchestrators[0]}/runs/${runId}`, { headers, signal })
      return answer.ok ? await answer.text() : ""
    })
  )

/** The same, as the services show it: during a database outage the record cannot be read. */
const servicesShow = Effect.gen(function* () {
  const { fetcherStatus, maintainerStatus } = yield* Environment
  return JSON.stringify(yield* Effect.all([fetcherStatus, maintainerStatus], { concurrency: 2 }))
})

/** Something is away for as long as outages last, and the run shows what it waits for. */
const outage = (
  what: "store" | "source" | "database",
  when: string,
  begin: Case["begin"],
  waitsFor: string | undefined
): Case => ({
  name: `outage: ${what}, ${when}`,
  kind: "fault",
  lasts: asked.outage,
  begin,
  strike: Effect.fnUntraced(function* (runId, { open }) {
    const { proxies, startDatabase, stopDatabase } = yield* Environment
    const [go, come] =
      what === "database" ? [stopDatabase, startDatabase] : [proxies[what].away(true), proxies[what].away(false)]
    yield* go
    yield* open
    const shown = (what === "database" ? servicesShow : recordShows(runId)).pipe(
      Effect.timeout("5 seconds"),
      Effect.orElseSucceed(() => ""),
      Effect.repeat({
        until: (text) => text.includes(`"what":"${waitsFor}"`),
        schedule: Schedule.spaced("500 millis")
      }),
      Effect.timeoutOrElse({
        duration: asked.outage,
        orElse: () => Effect.fail(`nothing shows that the run waits for ${waitsFor}`)
      })
    )
    yield* Effect.all([waitsFor === undefined ? Effect.void : shown, Effect.sleep(asked.outage)], {
      concurrency: 2
    }).pipe(Effect.ensuring(Effect.orDie(come)))
  }),
  outcome: "succeeded"
})

const inStream: Case["begin"] = trapped("source", (dice, { streamBytes }) => ({
  where: /\/stream$/,
  at: "body",
  place: afterBytes(dice.int(1, streamBytes))
}))
const beforeStream = trapped("source", { where: /\/stream$/, at: "request" })
const storing = trapped("store", { where: stores(/ndjson\.gz/), at: "request" })
const reading = trapped("store", { where: readsPart, at: "request" })
const asksToPublish = trapped("maintainer", { where: /^POST \/publish$/, at: "request" })

const store = "the snapshot store"
const source = "MediPim"
const database = "the database"

const thorough = (one: Case): Case => ({ ...one, thorough: true })

/** What is away for two minutes is waited for, in every phase of a run. */
export const outages: ReadonlyArray<Case> = [
  outage("store", "while fetching", storing, store),
  ...[
    outage("store", "before the manifest", trapped("store", { where: storesManifest, at: "request" }), store),
    outage("store", "while staging", reading, store),
    outage("store", "before the publish", asksToPublish, store),
    outage("source", "before the first byte", beforeStream, source),
    outage("source", "while fetching", inStream, source),
    outage("database", "while fetching", inStream, undefined),
    outage("database", "while staging", held("medipim.stage_products"), database),
    outage("database", "before the publish", asksToPublish, undefined),
    outage("database", "while publishing", locked("public.products"), database)
  ].map(thorough)
]
