import { internalError, type Trouble } from "@medipim/testing/SupabaseStandIn"
import { Effect } from "effect"
import { afterBytes } from "../harness/ByteOffset.ts"
import { anywhere, type Case, nowhere, onTheWay } from "../harness/Case.ts"
import { endOf } from "../harness/CaseRunner.ts"
import { Environment } from "../harness/Environment.ts"
import { forGood } from "../harness/Figures.ts"
import { readsPart, stores, storesManifest } from "../harness/StoreRoutes.ts"
import { failing } from "./Failing.ts"
import { storageDamage } from "./StorageDamage.ts"

const storesPart = stores(/ndjson\.gz/)
const storesSidecar = stores(/part-\d+\.json/)
const noSuchKey = { statusCode: "404", code: "NoSuchKey", error: "not_found", message: "Object not found" }

const unavailable = { status: 500, body: JSON.stringify(internalError) }

const unavailableOnce = (name: string, where: RegExp): Case =>
  onTheWay(`storage: unavailable once, for ${name}`, "store", () => ({ where, at: "request", what: unavailable }))

const answerLost = (name: string, where: RegExp): Case =>
  onTheWay(`storage: answer lost after ${name} was written`, "store", () => ({ where, at: "answer", what: "cut" }))

const awayForGood = failing(
  {
    ...onTheWay("storage: away for good", "store", () => ({ where: storesManifest, at: "request" })),
    lasts: forGood,
    strike: Effect.fnUntraced(function* (runId, { open }) {
      const { away } = (yield* Environment).proxies.store
      yield* Effect.acquireUseRelease(
        away(true),
        () => Effect.andThen(open, endOf(runId, forGood)),
        () => away(false)
      )
    })
  },
  "StoreError",
  "Sync again once the store answers."
)

const troubled = (...troubles: ReadonlyArray<Trouble>): Case => ({
  name: `storage: ${troubles.join(", ")}`,
  kind: "fault",
  begin: Effect.fnUntraced(function* () {
    const { trouble, troubleLeft } = yield* Environment
    trouble(...troubles)
    const complaints = Effect.sync(() => troubleLeft().map((left) => `${left} never came`))
    return { ...nowhere, complaints }
  }),
  outcome: "succeeded"
})

export const storageFaults: ReadonlyArray<Case> = [
  { ...troubled("unavailable", "answer-lost", "html", "slow-down"), thorough: true },
  unavailableOnce("a part", storesPart),
  { ...unavailableOnce("a sidecar", storesSidecar), thorough: true },
  unavailableOnce("the manifest", storesManifest),
  { ...unavailableOnce("a part that is read", readsPart), thorough: true },
  { ...awayForGood, thorough: true },
  answerLost("a part", storesPart),
  { ...answerLost("a sidecar", storesSidecar), thorough: true },
  answerLost("the manifest", storesManifest),
  anywhere("storage: part cut while it is read", "store", (dice) => ({
    where: readsPart,
    at: "body",
    place: afterBytes(dice.int(1, 100_000)),
    what: "cut"
  })),
  onTheWay("storage: wrong bytes once", "store", () => ({ where: readsPart, at: "body", what: "flip" })),
  failing(
    onTheWay("storage: a part is missing", "store", () => ({
      where: readsPart,
      at: "request",
      what: { status: 400, body: JSON.stringify(noSuchKey) }
    })),
    "StoreError",
    "Sync again with forceRefresh."
  ),
  ...storageDamage
]
