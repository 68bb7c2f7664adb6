import { assert, layer } from "@effect/vitest"
import { SnapshotId } from "@medipim/domain/Ids"
import { FetcherClient } from "@medipim/http-api/Clients"
import { PublishOrder } from "@medipim/platform/database/PublishOrder"
import { Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { MachineWaker } from "../src/MachineWaker.ts"
import { SnapshotSelection } from "../src/SnapshotSelection.ts"
import { database, idOf, past } from "./Database.ts"

/** What the store has, and what it was last told to keep. */
let stored: ReadonlyArray<string> = []
let kept: ReadonlyArray<string> = []
const incomplete = new Set<string>()

const fetcher = Layer.succeed(FetcherClient, {
  snapshots: () =>
    Effect.sync(() => ({
      // Newest name first, as the fetcher lists them.
      snapshots: [...stored]
        .sort()
        .reverse()
        .map((snapshotId) => ({
          snapshotId,
          startedAt: "2026-11-25T02:00:00.000Z",
          finishedAt: "2026-11-25T02:10:00.000Z",
          records: 100,
          bytes: 1000,
          compressedBytes: 100,
          parts: 1,
          complete: !incomplete.has(snapshotId),
          current: true
        }))
    })),
  prune: ({ payload }: { payload: { keep: ReadonlyArray<string> } }) =>
    Effect.sync(() => {
      kept = [...payload.keep].sort()
      return { removed: stored.filter((id) => !payload.keep.includes(id as never)) }
    })
} as never)

const selection = SnapshotSelection.layer.pipe(
  Layer.provide([fetcher, Layer.succeed(MachineWaker, MachineWaker.of({ wake: () => Effect.void }))]),
  Layer.provideMerge(database(90))
)

const anew = (...ids: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* sql`TRUNCATE medipim.sync_runs CASCADE`
    stored = ids
    kept = []
    incomplete.clear()
  })

const chosen = (named?: string) =>
  Effect.flatMap(SnapshotSelection, ({ choose }) =>
    choose(named === undefined ? undefined : SnapshotId.make(named)).pipe(
      Effect.map(({ snapshotId }): string => snapshotId),
      Effect.catch(({ code, message }) => Effect.succeed(`${code}: ${message}`))
    )
  )

/** Names that a clock two days, or sixty years, ahead has made. */
const ahead = idOf(1, 2086)

layer(selection, { excludeTestServices: true, timeout: "60 seconds" })("The catalogue", (it) => {
  it.effect("is fresh for 26 hours after its newest snapshot was requested, by the clock of the database", () =>
    Effect.gen(function* () {
      const freshness = Effect.flatMap(PublishOrder, (order) => order.freshness)
      const isFresh = Effect.map(freshness, (found) => found.isFresh)
      const hoursSince = (time: string | null) => (Date.now() - Date.parse(time ?? "")) / 3_600_000
      const requested = (id: string, hoursAgo: number, options = {}) => past({ id, daysAgo: hoursAgo / 24, options })
      for (const [hoursAgo, fresh] of [
        [25, true],
        [27, false],
        [-0.5, false],
        [0, true]
      ] as const) {
        yield* anew()
        yield* requested(idOf(1), hoursAgo)
        assert.strictEqual(yield* isFresh, fresh, `${hoursAgo} hours`)
      }
      yield* anew()
      assert.deepStrictEqual(yield* freshness, { publishedAt: null, requestedAt: null, isFresh: false })
      yield* requested(idOf(1), 30)
      yield* requested(idOf(2), 1, { limit: 10 })
      assert.isFalse(yield* isFresh, "a part says nothing of the whole")
      yield* past({ id: idOf(3), snapshotId: idOf(1), daysAgo: 0 })
      assert.isFalse(yield* isFresh, "an old snapshot, published again today, is as old as it is")
      const { publishedAt, requestedAt } = yield* freshness
      assert.closeTo(hoursSince(publishedAt), 0, 0.1)
      assert.closeTo(hoursSince(requestedAt), 30, 0.1)
    })
  )
})

layer(selection, { excludeTestServices: true, timeout: "60 seconds" })("The newest snapshot", (it) => {
  it.effect("is the one whose run the database saw last, whatever its name", () =>
    Effect.gen(function* () {
      yield* anew(ahead, idOf(2), idOf(3))
      yield* past({ id: ahead, daysAgo: 3 })
      yield* past({ id: idOf(3), daysAgo: 2 })
      yield* past({ id: idOf(2), daysAgo: 1 })
      assert.strictEqual(yield* chosen(), idOf(2))
      // One that was fetched and not published yet, too.
      stored = [...stored, idOf(1)]
      yield* past({ id: idOf(1), daysAgo: 0.5, published: false })
      assert.strictEqual(yield* chosen(), idOf(1))
      incomplete.add(idOf(1))
      assert.strictEqual(yield* chosen(), idOf(2))
    })
  )

  it.effect("is not one that no run of this database fetched, unless nothing was ever published or it is named", () =>
    Effect.gen(function* () {
      yield* anew(idOf(1), idOf(2))
      // A new database over a bucket that is there.
      assert.strictEqual(yield* chosen(), idOf(2))
      // A bucket that was restored behind a database that has published.
      yield* past({ id: idOf(9), daysAgo: 1 })
      assert.match(yield* chosen(), new RegExp(`^SnapshotNotFound: .*Name one with snapshotId, for example ${idOf(2)}`))
      assert.strictEqual(yield* chosen(idOf(1)), idOf(1))
      assert.match(yield* chosen(idOf(7)), /^SnapshotNotFound: There is no snapshot /)
      // One that the database knows is newer than any that it does not.
      stored = [...stored, ahead, idOf(9)]
      assert.strictEqual(yield* chosen(), idOf(9))
    })
  )

  it.effect("is used again only when it is fresh by the clock of the database, and not published", () =>
    Effect.gen(function* () {
      const { reusable } = yield* SnapshotSelection
      const reused = Effect.map(
        reusable,
        Option.match({ onNone: () => "none", onSome: ({ snapshotId }) => snapshotId })
      )
      const ageOf = (daysAgo: number, published = false) =>
        Effect.gen(function* () {
          yield* anew(ahead)
          yield* past({ id: ahead, daysAgo, published })
          return yield* reused
        })
      assert.strictEqual(yield* ageOf(0.5 / 24), ahead)
      assert.strictEqual(yield* ageOf(1.1 / 24), "none")
      assert.strictEqual(yield* ageOf(-0.5 / 24), "none", "an age in the future is never fresh")
      assert.strictEqual(yield* ageOf(0.5 / 24, true), "none")
      yield* anew(ahead)
      assert.strictEqual(yield* reused, "none", "nobody knows how old one is that no run fetched")
    })
  )

  it.effect("and the six before it are kept, with what the catalogue stands on, in the order of the database", () =>
    Effect.gen(function* () {
      const { prune } = yield* SnapshotSelection
      const names = Array.from({ length: 12 }, (_, n) => idOf(50 - n))
      yield* anew(...names, ahead)
      // Of a clock that was wrong, and long ago; the catalogue stands on it.
      yield* past({ id: ahead, daysAgo: 40 })
      yield* Effect.forEach(names, (id, n) => past({ id, daysAgo: 30 - n, published: false }))
      const last = names.at(-1) ?? ""
      assert.sameMembers([...(yield* prune(last as never))], names.slice(0, 5))
      assert.deepStrictEqual(kept, [...names.slice(5), ahead].sort())
      // Later runs publish: what nothing stands on any more goes, also with the latest of all names.
      yield* past({ id: idOf(1), daysAgo: 1 })
      stored = [...names, ahead, idOf(1)]
      assert.include(yield* prune(idOf(1) as never), ahead)
      // An older one that was asked for by name is not taken from the run that works on it.
      stored = [...names, idOf(1)]
      assert.notInclude(yield* prune(names[0] as never), names[0])
    })
  )

  it.effect("is not looked for where the list is empty: nothing is removed then", () =>
    Effect.gen(function* () {
      yield* anew()
      yield* past({ id: idOf(1), daysAgo: 1 })
      kept = ["untouched"]
      assert.deepStrictEqual(yield* (yield* SnapshotSelection).prune(idOf(1) as never), [])
      assert.deepStrictEqual(kept, ["untouched"])
    })
  )
})
