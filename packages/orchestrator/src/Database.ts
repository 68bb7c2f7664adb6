import { DatabaseClock } from "@medipim/platform/database/DatabaseClock"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Layer } from "effect"
import { Retention } from "./Retention.ts"
import * as RunMetrics from "./RunMetrics.ts"

/** What the orchestrator knows from the database, and its metrics. */
export const layer = (historyDays: number) =>
  Layer.merge(Retention.layer(historyDays), RunMetrics.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(RunRecords.layer, PublishOrder.layer, DatabaseClock.layer))
  )
