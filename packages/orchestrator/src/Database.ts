import { DatabaseClock } from "@medipim/platform/DatabaseClock"
import { PublishOrder } from "@medipim/platform/PublishOrder"
import { Layer } from "effect"
import { Retention } from "./Retention.ts"
import { RunRecords } from "./RunRecords.ts"

/** What the orchestrator knows from the database. */
export const layer = (historyDays: number) =>
  Layer.mergeAll(RunRecords.layer, PublishOrder.layer, DatabaseClock.layer, Retention.layer(historyDays))
