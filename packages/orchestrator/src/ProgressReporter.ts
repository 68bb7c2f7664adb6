import type { RunId, SnapshotId } from "@medipim/domain/Ids"
import { sumChunkOutcomes } from "@medipim/domain/Outcomes"
import { etaSeconds, noProgress, type Phase, type Progress, percentOf } from "@medipim/domain/Run"
import type { Mode } from "@medipim/domain/SyncOptions"
import type { ChunkCounts } from "@medipim/http-api/MaintainerApi"
import { RunRecords } from "@medipim/platform/database/RunRecords"
import { elapsedMillis } from "@medipim/platform/process/Stopwatch"
import { Effect, Semaphore } from "effect"

/** Reports the progress of a running run. */
export interface ProgressReporter {
  readonly phase: (phase: Phase) => Effect.Effect<void>
  /** The last phase: the percent of a failed run stays where its work stopped. */
  readonly notifying: (hasFailed: boolean) => Effect.Effect<void>
  readonly currentPhase: () => Phase
  readonly snapshot: (id: SnapshotId) => Effect.Effect<void>
  readonly update: (change: Partial<Progress>) => Effect.Effect<void>
  /** Counts of the chunk at this offset, so far. */
  readonly chunk: (offset: number, counts: ChunkCounts, done: boolean) => Effect.Effect<void>
  readonly note: (text: string) => Effect.Effect<void>
}

/** How often the record is written while only counts change. */
const writeEveryMillis = 400

/**
 * Opens the reporter of a run. After a restart it begins empty and fills again as the steps that were done before answer
 * from the workflow's storage.
 */
export const openProgressReporter = Effect.fnUntraced(function* (runId: RunId, mode: Mode) {
  const records = yield* RunRecords
  const openedAt = yield* elapsedMillis
  const one = yield* Semaphore.make(1)
  const chunks = new Map<number, ChunkCounts>()
  const done = new Set<number>()
  let phase: Phase = "idle"
  /** The phase that the percent is counted from. */
  let reached: Phase = phase
  let hasFailed = false
  let snapshotId: SnapshotId | null = null
  let progress: Progress = noProgress
  let writtenAt = Number.NEGATIVE_INFINITY

  const write = one
    .withPermit(
      Effect.gen(function* () {
        const now = yield* elapsedMillis
        const percent = percentOf(mode, reached, progress)
        progress = { ...progress, percent, etaSeconds: hasFailed ? null : etaSeconds(percent, now - openedAt) }
        yield* records.advance(runId, { phase, progress, snapshotId })
        writtenAt = yield* elapsedMillis
      })
    )
    .pipe(
      // The run continues when its row cannot be written for a while; its end is written with more retries.
      Effect.catch((error) => Effect.logWarning("The progress of the run could not be recorded", error))
    )

  const update = (change: Partial<Progress>) =>
    Effect.flatMap(elapsedMillis, (now) => {
      progress = { ...progress, ...change }
      return now - writtenAt >= writeEveryMillis ? write : Effect.void
    })

  const reporter: ProgressReporter = {
    phase: (next) =>
      Effect.suspend(() => {
        phase = next
        reached = next
        return write
      }),
    notifying: (failed) =>
      Effect.suspend(() => {
        phase = "notifying"
        hasFailed = failed
        if (!failed) reached = phase
        return write
      }),
    currentPhase: () => phase,
    snapshot: (id) =>
      Effect.suspend(() => {
        snapshotId = id
        return write
      }),
    update,
    chunk: (offset, counts, isDone) => {
      chunks.set(offset, counts)
      if (isDone) done.add(offset)
      const staged = [...chunks.values()]
      const totalRecords = staged.reduce((total, { records }) => total + records, 0)
      return update({ ...sumChunkOutcomes(staged), totalRecords, chunksProcessed: done.size })
    },
    note: (text) =>
      Effect.suspend(() => {
        progress = { ...progress, errors: [...progress.errors, text] }
        return write
      })
  }
  return reporter
})
