import { SnapshotStore, type StoreError } from "@medipim/domain/SnapshotStore"
import { type Busy, Unavailable } from "@medipim/http-api/Failure"
import { MaintainerApi } from "@medipim/http-api/MaintainerApi"
import { maintainerNeeds } from "@medipim/platform/database/DatabaseNeeds"
import { isPassing, sqlMessage } from "@medipim/platform/database/Postgres"
import { jobEvents } from "@medipim/platform/http/JobEvents"
import { databaseCheck, makeReadyz } from "@medipim/platform/http/Readiness"
import { currentWaits } from "@medipim/platform/process/Outage"
import { Clock, Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { ChunkStager, type StageError } from "./ChunkStager.ts"
import { Jobs } from "./Jobs.ts"
import { Publish, type WriteFailed } from "./Publish.ts"
import { RejectedRecords } from "./RejectedRecords.ts"
import { Replay } from "./Replay.ts"
import type { SnapshotBroken } from "./SnapshotReader.ts"

const systemLayer = HttpApiBuilder.group(
  MaintainerApi,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const store = yield* SnapshotStore
    const sql = yield* SqlClient
    const dependencies = [databaseCheck(sql, maintainerNeeds), { name: "snapshot store", check: store.check }]
    const readyz = yield* makeReadyz(dependencies)
    return handlers.handleAll({
      healthz: () => Effect.succeed({ status: "ok" } as const),
      readyz: () => readyz
    })
  })
)

const retryable = (error: StageError | Busy | WriteFailed): boolean => {
  switch (error._tag) {
    case "StoreError":
      return error.retryable
    case "SqlError":
      return isPassing(error)
    case "Busy":
      return true
    case "SnapshotBroken":
    case "WriteFailed":
    case "RunNotRunning":
      return false
  }
}

const unavailable = (error: SqlError | StoreError | SnapshotBroken | WriteFailed) =>
  new Unavailable({
    message: error._tag === "SqlError" ? sqlMessage(error) : error.message,
    retryable: retryable(error),
    code: error._tag
  })

const maintainerLayer = HttpApiBuilder.group(
  MaintainerApi,
  "maintainer",
  Effect.fnUntraced(function* (handlers) {
    const jobs = yield* Jobs
    const stage = yield* ChunkStager
    const publish = yield* Publish
    const rejectedRecords = yield* RejectedRecords
    const replay = yield* Replay
    const startedAt = yield* Clock.currentTimeMillis
    return handlers.handleAll({
      status: () =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          return {
            isRunning: jobs.chunks().length > 0 || jobs.publishing() !== null,
            chunks: jobs.chunks(),
            publishing: jobs.publishing(),
            waitingFor: yield* currentWaits,
            uptimeSeconds: Math.max(0, Math.floor((now - startedAt) / 1000))
          }
        }),
      run: Effect.fnUntraced(function* ({ payload }) {
        const { runId, snapshotId, offset } = payload
        yield* jobs.assertFree(payload)
        return jobEvents(
          (emit) =>
            jobs
              .staging(payload, (note) =>
                stage.chunk(payload, (counts) =>
                  Effect.andThen(note(counts), emit({ _tag: "Progress", runId, offset, counts } as const))
                )
              )
              .pipe(
                Effect.tap(({ counts }) =>
                  Effect.logInfo(`Staged ${counts.records} records from ${offset} on`, counts)
                ),
                Effect.map((staged) => ({ _tag: "Completed", runId, offset, ...staged }) as const)
              ),
          retryable,
          { runId, snapshotId }
        )
      }),
      publish: ({ payload }) =>
        jobs.publish(payload.runId, publish.run(payload)).pipe(
          Effect.tap(({ published, counts }) =>
            Effect.logInfo(published ? "Published" : "Counted in a dry run: nothing was published", counts)
          ),
          Effect.catchTag(["SqlError", "StoreError", "SnapshotBroken", "WriteFailed"], (error) =>
            Effect.fail(unavailable(error))
          ),
          Effect.tapError(({ message }) => Effect.logWarning(`The publish failed: ${message}`)),
          Effect.annotateLogs({ runId: payload.runId, snapshotId: payload.snapshotId })
        ),
      rejected: ({ query }) => rejectedRecords.list(query).pipe(Effect.mapError(unavailable)),
      replay: ({ payload }) =>
        replay.run(payload ?? {}).pipe(Effect.catchTag("SqlError", (error) => Effect.fail(unavailable(error))))
    })
  })
)

/** The routes of the maintainer. */
export const layer = Layer.merge(systemLayer, maintainerLayer)
