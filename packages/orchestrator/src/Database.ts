import { DatabaseClock } from "@medipim/platform/database/DatabaseClock"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Layer } from "effect"
import { Retention } from "./Retention.ts"

/** What the orchestrator knows from the database. */
export const layer = (historyDays: number) =>
  Retention.layer(historyDays).pipe(
    Layer.provideMerge(Layer.mergeAll(RunRecords.layer, PublishOrder.layer, DatabaseClock.layer))
  )
