import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect } from "effect"
import { touchedSince, xmins } from "./Rows.ts"
import { ended, sync, TestStack } from "./TestStack.ts"

const products = 3000

layer(TestStack.layer(products), { excludeTestServices: true, timeout: "120 seconds" })(
  "A sync that may not be",
  (it) => {
    it.effect("starts from a catalogue that is loaded", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* sync()).progress.inserted, products)
      })
    )

    it.effect(
      "publishes nothing of a broken download, and says why",
      () =>
        Effect.gen(function* () {
          const { control, snapshotDir } = yield* TestStack
          const before = yield* xmins
          const snapshots = () => readdirSync(join(snapshotDir, "snapshots")).length
          const known = snapshots()
          const faults = {
            gap: /gap.*2499 of/,
            html: /not-a-stream/
          }
          for (const [fault, reason] of Object.entries(faults)) {
            yield* control("POST /control/faults", { fault, at: 2499, times: 3 })
            const run = yield* sync({ forceRefresh: true })
            assert.deepInclude(run, { status: "failed", published: false })
            assert.strictEqual(run.failure?.code, "StreamBroken")
            assert.match(run.failure?.message ?? "", reason)
            assert.deepStrictEqual(yield* touchedSince(before), [])
            assert.strictEqual(snapshots(), known, `no trace of the download that ended by ${fault}`)
          }
        }),
      90_000
    )

    it.effect("never takes an empty answer for an empty catalogue", () =>
      Effect.gen(function* () {
        const { control } = yield* TestStack
        const before = yield* xmins
        yield* control("POST /control/faults", { fault: "empty" })
        const run = yield* sync({ forceRefresh: true })
        assert.deepInclude(run, { status: "failed", published: false })
        assert.strictEqual(run.failure?.code, "EmptyCatalogue")
        assert.deepStrictEqual(yield* touchedSince(before), [])
      })
    )

    it.effect("lets one sync run at a time, and stops the one that is cancelled", () =>
      Effect.gen(function* () {
        const { control } = yield* TestStack
        const client = yield* OrchestratorClient
        const fetcher = yield* FetcherClient
        const before = yield* xmins
        yield* control("POST /control/faults", { fault: "stall", at: 100 })
        const { runId } = yield* client.sync({ payload: { forceRefresh: true } })
        const others = yield* Effect.forEach(
          Array.from({ length: 10 }),
          () => Effect.flip(client.sync({ payload: undefined })),
          { concurrency: 10 }
        )
        for (const other of others) {
          assert.strictEqual(other._tag, "SyncRunning")
          if (other._tag === "SyncRunning") assert.strictEqual(other.runId, runId)
        }
        yield* Effect.sleep("1 second")
        assert.isTrue((yield* fetcher.status()).isRunning)
        const cancelledAt = performance.now()
        yield* client.cancel({ params: { id: runId } })
        const run = yield* ended(runId)
        assert.deepInclude(run, { status: "cancelled", published: false })
        while ((yield* fetcher.status()).isRunning) yield* Effect.sleep("50 millis")
        assert.isBelow(performance.now() - cancelledAt, 3000)
        assert.deepStrictEqual(yield* touchedSince(before), [])
        assert.strictEqual((yield* sync()).status, "succeeded")
      })
    )

    it.effect("brakes before a suspicious removal, and obeys force", () =>
      Effect.gen(function* () {
        const { control } = yield* TestStack
        yield* control("POST /control/changes", { remove: 400 })
        const refused = yield* sync()
        assert.deepInclude(refused, { status: "failed", published: false })
        assert.strictEqual(refused.failure?.code, "PublishRefused")
        assert.match(refused.failure?.message ?? "", /400 of \d+ products would be removed.*force/)
        assert.strictEqual((yield* sync({ force: true })).progress.removed, 400)
      })
    )

    it.effect("answers 404 for a run that is not there", () =>
      Effect.gen(function* () {
        const client = yield* OrchestratorClient
        const params = { id: "20200101T000000Z-00000000" }
        assert.strictEqual((yield* Effect.flip(client.run({ params })))._tag, "RunNotFound")
        assert.strictEqual((yield* Effect.flip(client.cancel({ params })))._tag, "RunNotFound")
        assert.strictEqual((yield* Effect.flip(client.events({ params })))._tag, "RunNotFound")
      })
    )
  }
)
