import { outcomeNames } from "@medipim/domain/Outcomes"
import type { Run } from "@medipim/domain/Run"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { Effect, Layer, Metric, Schedule } from "effect"

const gauge = (name: string, description: string) => Metric.gauge(`medipim_${name}`, { description })

const lastSuccess = gauge(
  "last_success_timestamp_seconds",
  "When a whole snapshot was last published, seconds since 1970; absent until one was"
)
const catalogueFresh = gauge("catalogue_fresh", "1 while the catalogue is not stale, else 0")
const runActive = gauge("run_active", "1 while a run is running, else 0")
const lastRunSucceeded = gauge("last_run_succeeded", "1 when the last run that ended has succeeded, else 0")
const lastRunEnd = gauge("last_run_end_timestamp_seconds", "When the last run ended, seconds since 1970")
const lastRunDuration = gauge("last_run_duration_seconds", "How long the last run took from its beginning to its end")
const lastRunRecords = gauge("last_run_records", "Records of the last run that ended, by outcome")

/** The last sync is looked for among these; replays are passed over. */
const recentRuns = 10
const sampleInterval = "10 seconds"

const secondsOf = (iso: string): number => Date.parse(iso) / 1000

const sampleRun = ({ status, startTime, endTime, progress }: Run & { readonly endTime: string }) =>
  Effect.all(
    [
      Metric.update(lastRunSucceeded, status === "succeeded" ? 1 : 0),
      Metric.update(lastRunEnd, secondsOf(endTime)),
      Metric.update(lastRunDuration, Math.max(0, secondsOf(endTime) - secondsOf(startTime))),
      ...outcomeNames.map((outcome) =>
        Metric.update(Metric.withAttributes(lastRunRecords, { outcome }), progress[outcome])
      )
    ],
    { discard: true }
  )

const hasEnded = (run: Run): run is Run & { readonly endTime: string } => run.endTime !== null

const sample = Effect.gen(function* () {
  const records = yield* RunRecords
  const order = yield* PublishOrder
  const runs = yield* records.list(recentRuns)
  const { publishedAt, isFresh } = yield* order.freshness
  yield* Metric.update(runActive, runs.some(({ status }) => status === "running") ? 1 : 0)
  yield* Metric.update(catalogueFresh, isFresh ? 1 : 0)
  if (publishedAt !== null) yield* Metric.update(lastSuccess, secondsOf(publishedAt))
  const last = runs.find((run) => hasEnded(run) && run.mode !== "replay")
  if (last !== undefined && hasEnded(last)) yield* sampleRun(last)
}).pipe(Effect.withSpan("RunMetrics.sample"))

/**
 * Gauges of the last run and of the catalogue, from the database: they are right after a restart, and on a standby. While
 * the database does not answer they keep their last values.
 */
export const layer = Layer.effectDiscard(
  Effect.forkScoped(Effect.repeat(Effect.ignore(sample), Schedule.spaced(sampleInterval)))
)
