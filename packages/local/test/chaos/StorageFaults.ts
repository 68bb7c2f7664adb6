import { Effect } from "effect"
import type { Trouble } from "../../../platform/test/SupabaseStandIn.ts"
import { anywhere, type Case, kills, nowhere, onTheWay, trapped } from "./Case.ts"
import { House } from "./House.ts"
import { afterBytes } from "./Place.ts"

const part = /ndjson\.gz$/
const readsPart = /^GET \/storage\/v1\/object\/medipim-raw\/.*ndjson\.gz$/
const storesPart = /^(PUT|POST) \/storage\/v1\/object\/medipim-raw\/.*ndjson\.gz$/
const noSuchKey = { statusCode: "404", code: "NoSuchKey", error: "not_found", message: "Object not found" }

const troubled = (...troubles: ReadonlyArray<Trouble>): Case => ({
  name: `storage: ${troubles.join(", ")}`,
  kind: "fault",
  begin: () =>
    Effect.tap(
      Effect.succeed(nowhere),
      Effect.map(House, ({ trouble }) => trouble(...troubles))
    ),
  outcome: "succeeded"
})

/** All parts that are stored lose their second half. */
const halve = Effect.flatMap(House, ({ damage }) =>
  damage(part, (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2))) > 0
    ? Effect.void
    : Effect.fail("there was no part to damage")
)

/** The download goes on behind a part that the store no longer holds whole. */
const cutShortMeanwhile: Case = {
  ...kills("fetcher"),
  name: "storage: a part is cut short while its fetcher is down",
  kind: "fault",
  begin: Effect.fnUntraced(function* (dice) {
    const { proxies, streamBytes } = yield* House
    const where = /\/stream$/
    const half = Math.floor(streamBytes / 2)
    const broken = proxies.source.set({
      where,
      at: "body",
      place: afterBytes(dice.int(half, streamBytes)),
      what: "cut"
    })
    const again = Effect.map(broken.sprung, () => proxies.source.set({ where, at: "request" }))
    const asksAgain = yield* Effect.cached(again)
    return {
      sprung: Effect.flatMap(asksAgain, ({ sprung }) => sprung),
      open: Effect.flatMap(asksAgain, ({ open }) => open)
    }
  }),
  strike: () => Effect.flatMap(House, ({ kill }) => Effect.andThen(kill("fetcher"), halve)),
  outcome: "succeeded"
}

const cutShortForGood: Case = {
  name: "storage: parts are cut short for good",
  kind: "fault",
  begin: trapped("maintainer", { where: /^POST \/run$/, at: "request" }),
  strike: () => halve,
  outcome: { failed: "SnapshotBroken" }
}

export const storageFaults: ReadonlyArray<Case> = [
  troubled("unavailable", "answer-lost", "html", "slow-down"),
  onTheWay("storage: answer lost after a part was written", "store", () => ({
    where: storesPart,
    at: "answer",
    what: "cut"
  })),
  anywhere("storage: part cut while it is read", "store", (dice) => ({
    where: readsPart,
    at: "body",
    place: afterBytes(dice.int(1, 100_000)),
    what: "cut"
  })),
  onTheWay("storage: wrong bytes once", "store", () => ({ where: readsPart, at: "body", what: "flip" })),
  {
    ...onTheWay("storage: a part is missing", "store", () => ({
      where: readsPart,
      at: "request",
      what: { status: 400, body: JSON.stringify(noSuchKey) }
    })),
    outcome: { failed: "StoreError" }
  },
  cutShortMeanwhile,
  cutShortForGood
]
