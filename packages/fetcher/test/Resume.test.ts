import { setTimeout as sleep } from "node:timers/promises"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { SnapshotId } from "@medipim/domain/Ids"
import { allStatuses, MediPim, MediPimError } from "@medipim/domain/MediPim"
import { type Manifest, manifestKey, prefixOf, type SourceRequest, sidecarKey } from "@medipim/domain/Snapshot"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { StreamBroken } from "@medipim/domain/StreamCheck"
import * as FolderStore from "@medipim/platform/store/FolderStore"
import { series } from "@medipim/testing/Randomness"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Checkpoints } from "../src/Checkpoints.ts"
import { Download } from "../src/Download.ts"
import { Snapshots } from "../src/Snapshots.ts"

const records = 3000
const perSecond = 7
const id = SnapshotId.make("20261123T020000Z-00000001")
const everything = { filter: allStatuses, sorting: { createdAt: "ASC" } }

interface Product {
  readonly id: string
  readonly createdAt: number
}

const catalogue = (size = records): ReadonlyArray<Product> =>
  Array.from({ length: size }, (_, n) => ({
    id: `M${String((n * 7919) % 1_000_003).padStart(9, "0")}`,
    createdAt: 1_700_000_000 + Math.floor(n / perSecond)
  }))

/** From which second on the rest is asked for; 0 for the whole. */
const restOf = ({ filter }: SourceRequest): number => {
  const { and } = filter as { readonly and?: ReadonlyArray<{ readonly createdAt?: { readonly from: number } }> }
  return and?.[1]?.createdAt?.from ?? 0
}

/** Within a second the source has no order: each answer has another one. */
const answerTo = (
  request: SourceRequest,
  products: ReadonlyArray<Product>,
  turn: number,
  isExclusive = false
): Buffer => {
  const from = restOf(request) + (isExclusive ? 1 : 0)
  const rank = ({ id }: Product) => (turn % 2 === 0 ? id : [...id].reverse().join(""))
  const sent = products
    .filter(({ createdAt }) => createdAt >= from)
    .toSorted((a, b) => a.createdAt - b.createdAt || (rank(a) < rank(b) ? -1 : 1))
  const padding = "ü".repeat(400)
  return Buffer.from(
    sent
      .map(
        ({ id, createdAt }, index) =>
          `{"meta":{"total":${sent.length},"index":${index}},"result":{"id":"${id}","name":"${padding}",` +
          `"meta":{"createdAt":${createdAt},"updatedAt":null,"embedUrl":"https://signed/${turn}"}}}\n`
      )
      .join("")
  )
}

/** What an answer does after so many bytes: ends, resets, or says nothing any more. */
interface Break {
  readonly after: number
  readonly how: "end" | "reset" | "silence"
}

interface Source {
  products: ReadonlyArray<Product>
  breaks: Array<Break>
  readonly asked: Array<SourceRequest>
  sent: number
  /** How it takes a request for the rest: with the second that is named, without it, or not at all. */
  readonly rest: "inclusive" | "exclusive" | "refused"
}

const makeSource = (breaks: ReadonlyArray<Break>, rest: Source["rest"] = "inclusive"): Source => ({
  rest,
  products: catalogue(),
  breaks: [...breaks],
  asked: [],
  sent: 0
})

const broken = (fault: StreamBroken["fault"]) => new StreamBroken({ fault, received: 0, expected: 0, detail: "test" })

const medipim = (source: Source) =>
  Layer.succeed(
    MediPim,
    MediPim.of({
      open: Effect.fnUntraced(function* (request) {
        const turn = source.asked.push(request)
        if (source.rest === "refused" && restOf(request) > 0) {
          return yield* new MediPimError({ status: 422, code: "unprocessable", detail: "createdAt", retryable: false })
        }
        const whole = answerTo(request, source.products, turn, source.rest === "exclusive")
        if (whole.length === 0) return Option.none()
        const cut = source.breaks.shift()
        const bytes = cut === undefined ? whole : whole.subarray(0, cut.after)
        const pieces = Array.from({ length: Math.ceil(bytes.length / 10_007) }, (_, n) =>
          bytes.subarray(n * 10_007, (n + 1) * 10_007)
        )
        const sent = Stream.fromIterable(pieces).pipe(
          Stream.tap((piece) =>
            Effect.sync(() => {
              source.sent += piece.length
            })
          )
        )
        if (cut === undefined || cut.how === "end") return Option.some(sent)
        const last = cut.how === "reset" ? Stream.fail(broken("connection")) : Stream.never
        return Option.some(Stream.concat(sent, last))
      })
    })
  )

const folder = Layer.unwrap(Effect.map(temporaryFolder("resume"), FolderStore.layer))

const asking = (source: Source, filter: SourceRequest["filter"]) =>
  Download.layer({ filter }).pipe(
    Layer.provideMerge([Snapshots.layer, Checkpoints.layer]),
    Layer.provide(medipim(source))
  )
const around = (source: Source) => asking(source, allStatuses).pipe(Layer.provideMerge(folder))

const run = Effect.flatMap(Download, (download) => download.run(id, () => Effect.void))
/** The waits between two requests take no time. */
const atOnce = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    const hurry = yield* Effect.forkChild(
      TestClock.adjust("500 millis").pipe(Effect.andThen(Effect.promise(() => sleep(1))), Effect.forever)
    )
    const result = yield* Fiber.join(fiber)
    yield* Fiber.interrupt(hurry)
    return result
  })

const idsIn = Effect.fnUntraced(function* ({ parts }: Manifest) {
  const store = yield* SnapshotStore
  const stored = yield* Effect.forEach(parts, ({ key }) => Stream.runCollect(store.get(key)))
  const lines = stored.flatMap((pieces) =>
    gunzipSync(Buffer.concat([...pieces]))
      .toString()
      .trimEnd()
      .split("\n")
  )
  return lines.map((line) => (JSON.parse(line) as { readonly result: Product }).result.id)
})

/** Nothing of the snapshot is stored but what its manifest names. */
const assertAlone = Effect.fnUntraced(function* ({ parts }: Manifest) {
  const left = yield* Effect.flatMap(SnapshotStore, (store) => store.list(prefixOf(id)))
  const named = parts.flatMap(({ key }, number) => [key, sidecarKey(id, number)])
  assert.sameMembers(
    left.map(({ key }) => key),
    [...named, manifestKey(id)]
  )
})

/** Every product once, the counts told rightly, the parts joined. */
const assertWhole = Effect.fnUntraced(function* (manifest: Manifest, products: ReadonlyArray<Product>) {
  assert.deepInclude(manifest, { complete: true, records: products.length, total: products.length })
  assert.deepStrictEqual((yield* idsIn(manifest)).toSorted(), products.map(({ id }) => id).toSorted())
  const joined = (pieces: ReadonlyArray<{ readonly firstRecord: number; readonly records: number }>) =>
    assert.strictEqual(
      pieces.reduce((next, { firstRecord, records }) => (firstRecord === next ? next + records : Number.NaN), 0),
      products.length
    )
  joined(manifest.parts)
  joined(manifest.segments)
  return manifest
})

const whole = answerTo(everything, catalogue(), 0).length
const testing = <A, E>(source: Source, test: Effect.Effect<A, E, Download | SnapshotStore>) =>
  atOnce(test).pipe(Effect.provide(around(source), { local: true }))

describe("A download that breaks", () => {
  it.effect("goes on where it broke: cut five times it asks for little more than once the bytes", () => {
    const breaks = [9_001, 400_003, 777_777, 300_001, 12_345].map((after, n) => ({
      after,
      how: n % 2 === 0 ? ("end" as const) : ("reset" as const)
    }))
    const source = makeSource(breaks)
    return testing(
      source,
      Effect.gen(function* () {
        const manifest = yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
        assert.strictEqual(source.asked.length, 6)
        assert.strictEqual(manifest.segments.length, 6)
        assert.isNull(manifest.segments[0]?.from)
        assert.isAbove(manifest.segments[5]?.from ?? 0, 1_700_000_000)
        assert.isBelow(source.sent, whole * 1.2)
      })
    )
  })

  it.effect(
    "has every product once wherever it was cut",
    () =>
      Effect.forEach(
        Array.from({ length: series(12, 60) }, (_, n) => 1 + ((n * 104_729) % (whole - 1))),
        (after) => {
          const source = makeSource([{ after, how: "end" }])
          return testing(
            source,
            Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
          )
        },
        { discard: true }
      ),
    60_000
  )

  it.effect("begins anew when the catalogue is another one by then, and leaves no line of the first", () => {
    const source = makeSource([{ after: 500_000, how: "end" }])
    return testing(
      source,
      Effect.gen(function* () {
        const first = source.products
        const { asked } = source
        // The first answer comes from the old catalogue, the second from one that has lost a product.
        Object.defineProperty(source, "products", { get: () => (asked.length > 1 ? first.slice(0, -1) : first) })
        const manifest = yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, first.slice(0, -1)))
        assert.strictEqual(asked.length, 3)
        assert.deepStrictEqual(asked[2], everything)
        assert.strictEqual(manifest.segments.length, 1)
      })
    )
  })

  it.effect.each(["exclusive", "refused"] as const)(
    "restarts from scratch when the source takes the request for the rest otherwise: %s",
    (rest) => {
      const source = makeSource([{ after: 500_000, how: "end" }], rest)
      return testing(
        source,
        Effect.gen(function* () {
          const manifest = yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
          assert.deepStrictEqual(source.asked.map(restOf).map(Math.sign), [0, 1, 0])
          yield* assertAlone(manifest)
        })
      )
    }
  )

  it.effect("gives up after ten times and keeps what it has for the next call", () => {
    const source = makeSource(Array.from({ length: 11 }, () => ({ after: 60_000, how: "end" as const })))
    return testing(
      source,
      Effect.gen(function* () {
        const error = yield* Effect.flip(run)
        assert.deepInclude(error, { _tag: "StreamBroken", fault: "cut" })
        assert.strictEqual(source.asked.length, 11)
        yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
        assert.strictEqual(source.asked.length, 12)
        assert.isBelow(source.sent, whole * 1.2)
      })
    )
  })

  it.effect("does not go on behind a part whose sidecar or bytes are not there", () =>
    Effect.forEach(
      [
        (store: SnapshotStore["Service"]) => store.remove([sidecarKey(id, 0)]),
        (store: SnapshotStore["Service"]) => store.put(`${prefixOf(id)}part-00000.ndjson.gz`, Buffer.from("half"), ""),
        (store: SnapshotStore["Service"]) => store.put(sidecarKey(id, 0), Buffer.from("{"), "")
      ],
      (damage) => {
        const breaks = Array.from({ length: 11 }, () => ({ after: 60_000, how: "end" as const }))
        const source = makeSource(breaks)
        return testing(
          source,
          Effect.gen(function* () {
            yield* Effect.flip(run)
            yield* damage(yield* SnapshotStore)
            const manifest = yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
            assert.deepStrictEqual(source.asked.at(-1), everything)
            yield* assertAlone(manifest)
          })
        )
      },
      { discard: true }
    )
  )

  it.effect("does not go on with the parts of another question, as after a change of MEDIPIM_FILTER", () => {
    const source = makeSource(Array.from({ length: 11 }, () => ({ after: 60_000, how: "end" as const })))
    const filter = { organization: [2050] }
    return testing(
      source,
      Effect.gen(function* () {
        yield* Effect.flip(run)
        const manifest = yield* run.pipe(Effect.provide(asking(source, filter), { local: true }))
        yield* assertWhole(manifest, source.products)
        assert.deepStrictEqual(source.asked.slice(11), [{ filter, sorting: everything.sorting }])
        assert.deepStrictEqual(manifest.request, { filter, sorting: everything.sorting })
        yield* assertAlone(manifest)
      })
    )
  })

  it.effect("goes on behind its stored parts when it was stopped, as after a kill", () => {
    const after = 36_000_000
    const source = makeSource([{ after, how: "silence" }])
    source.products = catalogue(45_000)
    return testing(
      source,
      Effect.gen(function* () {
        const stopped = yield* Effect.forkChild(run)
        yield* Effect.flatMap(SnapshotStore, (store) => store.list(prefixOf(id))).pipe(
          Effect.repeat({ until: (found) => found.length >= 2 })
        )
        yield* Fiber.interrupt(stopped)
        const manifest = yield* Effect.flatMap(run, (manifest) => assertWhole(manifest, source.products))
        assert.strictEqual(manifest.segments.length, 2)
      })
    )
  })
})
