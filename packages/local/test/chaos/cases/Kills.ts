import { SnapshotId } from "@medipim/domain/Ids"
import { type Manifest, manifestKey, sidecarKey } from "@medipim/domain/Snapshot"
import type { Dice } from "@medipim/testing/Dice"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterBytes, beforeText } from "../harness/ByteOffset.ts"
import { type Case, kills, locked, nowhere, trapped } from "../harness/Case.ts"
import { Environment } from "../harness/Environment.ts"
import { chunkSize, partBytes } from "../harness/Figures.ts"
import { readsPart, stores, storesManifest } from "../harness/StoreRoutes.ts"
import { held } from "./Held.ts"

const inStream = trapped("source", (dice, { streamBytes }) => ({
  where: /\/stream$/,
  at: "body",
  place: afterBytes(dice.int(1, streamBytes))
}))
const completed = beforeText('"Completed"')
/** The sidecar of any part but the last. */
const sidecarIn = (dice: Dice, streamBytes: number): RegExp => {
  const part = dice.int(0, Math.floor(streamBytes / partBytes) - 1)
  return stores(new RegExp(`part-0*${part}\\.json`))
}

/** What was stored before the kill is not downloaded again. */
const inMidPart: Case = {
  ...kills("fetcher"),
  name: "fetcher: in mid part",
  begin: trapped("source", (dice, { streamBytes }) => ({
    where: /\/stream$/,
    at: "body",
    place: afterBytes(dice.int(1.5 * partBytes, streamBytes))
  })),
  strike: Effect.fnUntraced(function* (runId) {
    const { kill, object } = yield* Environment
    const first = object(sidecarKey(SnapshotId.make(runId), 0))
    yield* Effect.repeat(first, { until: (sidecar) => sidecar !== undefined, schedule: Schedule.spaced("20 millis") })
    yield* kill("fetcher")
  }),
  demands: Effect.fnUntraced(function* (runId) {
    const { object } = yield* Environment
    const { segments } = JSON.parse((yield* object(manifestKey(SnapshotId.make(runId)))) ?? "{}") as Manifest
    return segments.length > 1 ? [] : ["the stored part was downloaded again"]
  })
}

/** A chunk has one batch recorded and the rows of the next staged: who stages it again finds both. */
const besideABatch: Case["begin"] = Effect.fnUntraced(function* (dice) {
  const sql = yield* SqlClient
  const { sprung, open } = yield* held("medipim.stage_batches", `NEW.first_record % ${chunkSize} > 0`)(dice)
  const recorded = sql`SELECT FROM medipim.stage_batches`.pipe(
    Effect.repeat({ until: (batches) => batches.length > 0, schedule: Schedule.spaced("20 millis") }),
    Effect.orDie
  )
  return { sprung: Effect.andThen(sprung, Effect.asVoid(recorded)), open }
})

/** The places at which each service is killed. */
export const killPoints: ReadonlyArray<Case> = [
  {
    name: "fetcher: before the first byte",
    begin: trapped("source", { where: /\/stream$/, at: "answer" }),
    ...kills("fetcher")
  },
  {
    name: "fetcher: in the first part",
    begin: trapped("source", (dice) => ({
      where: /\/stream$/,
      at: "body",
      place: afterBytes(dice.int(1, partBytes))
    })),
    ...kills("fetcher")
  },
  inMidPart,
  {
    name: "fetcher: between part and sidecar",
    begin: trapped("store", (dice, { streamBytes }) => ({ where: sidecarIn(dice, streamBytes), at: "request" })),
    ...kills("fetcher")
  },
  {
    name: "fetcher: before the manifest",
    begin: trapped("store", { where: storesManifest, at: "request" }),
    ...kills("fetcher")
  },
  {
    name: "fetcher: manifest stored, not answered",
    begin: trapped("store", { where: storesManifest, at: "answer" }),
    ...kills("fetcher")
  },
  {
    name: "maintainer: before a part is read",
    begin: trapped("store", { where: readsPart, at: "request" }),
    ...kills("maintainer")
  },
  {
    name: "maintainer: while a part is read",
    begin: trapped("store", (dice) => ({ where: readsPart, at: "body", place: afterBytes(dice.int(1, 100_000)) })),
    ...kills("maintainer")
  },
  { name: "maintainer: in mid chunk", begin: held("medipim.stage_products"), ...kills("maintainer") },
  { name: "maintainer: rows staged, their batch not", begin: besideABatch, ...kills("maintainer") },
  {
    name: "maintainer: chunk staged, not answered",
    begin: trapped("maintainer", { where: /^POST \/run$/, at: "body", place: completed }),
    ...kills("maintainer")
  },
  {
    name: "maintainer: publishing, at the products",
    begin: locked("public.products"),
    ...kills("maintainer"),
    unseen: true
  },
  {
    name: "maintainer: publishing, at the history",
    begin: locked("medipim.product_changes"),
    ...kills("maintainer"),
    unseen: true
  },
  {
    name: "maintainer: everything written, nothing committed",
    // Lets everything pass but the last statement of the transaction.
    begin: held("medipim.sync_runs", "NEW.published_at IS NOT NULL AND OLD.published_at IS NULL", "UPDATE"),
    ...kills("maintainer"),
    unseen: true
  },
  {
    name: "maintainer: committed, not answered",
    begin: trapped("maintainer", { where: /^POST \/publish$/, at: "answer" }),
    ...kills("maintainer")
  },
  { name: "orchestrator: after 202", begin: () => Effect.succeed(nowhere), ...kills("orchestrator") },
  { name: "orchestrator: while fetching", begin: inStream, ...kills("orchestrator") },
  {
    name: "orchestrator: fetched, not heard",
    begin: trapped("fetcher", { where: /^POST \/run$/, at: "body", place: completed }),
    ...kills("orchestrator")
  },
  { name: "orchestrator: in mid chunk", begin: held("medipim.stage_products"), ...kills("orchestrator") },
  {
    name: "orchestrator: staged, not heard",
    begin: trapped("maintainer", { where: /^POST \/run$/, at: "body", place: completed }),
    ...kills("orchestrator")
  },
  { name: "orchestrator: publish on its way", begin: locked("public.products"), ...kills("orchestrator") },
  {
    name: "orchestrator: committed, not heard",
    begin: trapped("maintainer", { where: /^POST \/publish$/, at: "answer" }),
    ...kills("orchestrator")
  },
  {
    name: "orchestrator: while it notifies",
    begin: trapped("listener", { where: /^POST/, at: "request" }),
    ...kills("orchestrator")
  },
  {
    name: "orchestrator: notified, not answered",
    begin: trapped("listener", { where: /^POST/, at: "answer" }),
    ...kills("orchestrator")
  }
]
