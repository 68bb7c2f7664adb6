import { isDeepStrictEqual } from "node:util"
import { assert, layer } from "@effect/vitest"
import type { SnapshotId } from "@medipim/domain/Ids"
import { type Dice, diceOf } from "@medipim/testing/Dice"
import { seed, series } from "@medipim/testing/Randomness"
import { Cause, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { ChunkStager } from "../src/ChunkStager.ts"
import { Publish } from "../src/Publish.ts"
import {
  beginRun,
  empty,
  line,
  product,
  type Source,
  services,
  setClock,
  stageAll,
  unstorable,
  writeSnapshot
} from "./Fixture.ts"

const histories = series(20, 200)
const DAY = 24 * 60 * 60 * 1000

/** As the model holds it: its `embedUrl` is only added to the text of a line. */
interface Product extends Source {
  readonly meta: { readonly createdAt: number; readonly updatedAt: number }
}

/** Without a product it cannot be decoded; without an id it does not even tell which product it is about. */
interface Line {
  readonly id: string | undefined
  readonly product: Product | undefined
  readonly text: (index: number, total: number) => string
}

/** The source: gives the random lines of one snapshot after the other. */
const makeSource = (dice: Dice) => {
  const present = new Map<string, Product>()
  const gone = new Map<string, Product>()
  let serial = 0
  /** Content that no product ever had, this many seconds newer. */
  const altered = (from: Product, seconds: number): Product => {
    serial += 1
    const key = dice.oneOf(["publicPrice", "name", "keyWithoutColumn"])
    const value = key === "name" ? { en: `Name ${serial}` } : 10_000 + serial
    return { ...from, [key]: value, meta: { ...from.meta, updatedAt: from.meta.updatedAt + seconds } }
  }
  const meta = { createdAt: 1_700_000_000, updatedAt: 1_700_000_000 }
  const newer = (from: Product) => altered(from, dice.int(1, 1000))
  const newProduct = () => newer({ ...product(serial + 1), meta })
  const same = (from: Product) => from
  const older = (from: Product) => altered(from, -dice.int(1, 1000))

  const text = ({ id, meta, ...rest }: Product, more: object): Line["text"] => {
    const others = { ...rest, meta: { ...meta, embedUrl: `https://signed.example/${dice.int(0, 1e9)}` }, ...more }
    // With the id at the end only parsing can tell it.
    const result = dice.chance(0.2) ? { ...others, id } : { id, ...others }
    return (index, total) => line(result, index, total)
  }
  const sent = (product: Product): Line => ({ id: product.id, product, text: text(product, {}) })
  const rejected = (id: string | undefined, text: Line["text"]): Line => ({ id, product: undefined, text })
  const undecodable = (from: Product) => rejected(from.id, text(from, unstorable))
  const broken = (id: string | undefined) =>
    rejected(id, (index, total) => line({ id }, index, total).replace("}}", ',"name":oops'))
  const keep = (product: Product) => {
    present.set(product.id, product)
    gone.delete(product.id)
    return sent(product)
  }
  const operations: Record<string, (product: Product) => ReadonlyArray<Line>> = {
    unchanged: (product) => [sent(product)],
    changed: (product) => [keep(dice.chance(0.7) ? newer(product) : altered(product, 0))],
    replaced: (product) => [keep({ ...newer(product), status: "replaced", replacement: "M000000001" })],
    older: (product) => [sent(older(product))],
    unknownPrice: (product) => [keep({ ...newer(product), publicPrice: "free" })],
    rejected: (product) => [dice.chance(0.5) ? undecodable(product) : broken(product.id)],
    removed: (product) => {
      present.delete(product.id)
      gone.set(product.id, product)
      return []
    },
    twice: (product) => [sent(product), sent(dice.oneOf([older, newer, same])(product))],
    twiceInOneSecond: (product) => {
      const first = dice.oneOf([newer, same])(product)
      const second = altered(first, 0)
      return dice.chance(0.5) ? [sent(first), keep(second)] : [sent(second), keep(first)]
    }
  }

  const deck = (): ReadonlyArray<string> => {
    const cards = ["unchanged", "unchanged", "unchanged", "changed", "changed", "older", "replaced"]
    if (dice.chance(0.1)) return ["unchanged"]
    if (dice.chance(0.7)) cards.push("removed", "removed")
    if (dice.chance(0.4)) cards.push("rejected")
    if (dice.chance(0.4)) cards.push("unknownPrice")
    if (dice.chance(0.2)) cards.push("twice", "twiceInOneSecond")
    return cards
  }
  const cameBack = (product: Product) => {
    const back = keep(dice.oneOf([older, newer, same])(product))
    return dice.chance(0.1) ? [back, sent(older(product))] : [back]
  }

  return (): ReadonlyArray<Line> => {
    const cards = deck()
    const back = [...gone.values()].filter(() => dice.chance(0.3))
    const lines = [...present.values()].flatMap((product) => operations[dice.oneOf(cards)]?.(product) ?? [])
    lines.push(...back.flatMap(cameBack))
    const added = present.size === 0 ? dice.int(5, 25) : dice.int(0, Math.min(4, 25 - present.size))
    for (let n = 0; n < added; n++) lines.push(keep(newProduct()))
    if (dice.chance(0.12)) lines.push(broken(undefined))
    return dice.chance(0.5) ? dice.shuffled(lines) : lines
  }
}

interface Entry {
  readonly content: Product
  readonly removed: boolean
  /** The run that wrote the row last. */
  readonly run: string
  /** What the column holds: the last price that was one. */
  readonly price: number | null
}
/** With the line that the content came in. */
type CatalogueModel = Map<string, Entry & { readonly text: Line["text"] }>
const zero = { inserted: 0, updated: 0, unchanged: 0, stale: 0, restored: 0, removed: 0, rejected: 0, duplicates: 0 }

/** Of the lines of a product the newest counts, and the later of two that are as new. */
const winnersOf = (lines: ReadonlyArray<Line>) => {
  const winners = new Map<string, { readonly content: Product; readonly text: Line["text"] }>()
  for (const { product: content, text } of lines) {
    if (content === undefined) continue
    const rival = winners.get(content.id)?.content
    if (rival === undefined || content.meta.updatedAt >= rival.meta.updatedAt)
      winners.set(content.id, { content, text })
  }
  return winners
}

const outcomeOf = (product: Product, entry: ReturnType<CatalogueModel["get"]>, isNewest: boolean) => {
  if (entry === undefined) return "inserted"
  if (entry.removed) return "restored"
  if (isDeepStrictEqual(entry.content, product)) return "unchanged"
  return product.meta.updatedAt > entry.content.meta.updatedAt || isNewest ? "updated" : "stale"
}

const priceOf = ({ publicPrice }: Product, entry: ReturnType<CatalogueModel["get"]>): number | null =>
  typeof publicPrice === "number" ? publicPrice : (entry?.price ?? null)

/**
 * The model: what a run over these lines makes of the catalogue. In the newest snapshot the content counts, whatever its times
 * say; the lines of an older one give way to what is not earlier, and remove nothing.
 */
const modelOf = (before: CatalogueModel, lines: ReadonlyArray<Line>, run: string, isNewest: boolean) => {
  const after = new Map(before)
  const winners = winnersOf(lines)
  const rejected = lines.filter(({ product }) => product === undefined).length
  const duplicates = lines.length - rejected - winners.size
  const counts = { ...zero, records: lines.length, rejected, duplicates }
  const changes = new Map<string, string>()
  for (const [id, winner] of winners) {
    const entry = before.get(id)
    const outcome = outcomeOf(winner.content, entry, isNewest)
    counts[outcome] += 1
    if (outcome === "unchanged" || outcome === "stale") continue
    after.set(id, { ...winner, removed: false, run, price: priceOf(winner.content, entry) })
    changes.set(id, outcome)
  }
  const named = new Set(lines.map(({ id }) => id))
  if (!isNewest || duplicates > 0 || named.has(undefined)) return { after, counts, changes }
  for (const [id, entry] of before) {
    if (entry.removed || named.has(id)) continue
    counts.removed += 1
    after.set(id, { ...entry, removed: true, run })
    changes.set(id, "removed")
  }
  return { after, counts, changes }
}

/** Which lines of a product that is named twice count as stale is not defined: then only their sum is. */
const comparable = ({ unchanged, stale, duplicates, ...others }: typeof zero) => ({
  ...others,
  ...(duplicates === 0 ? { unchanged, stale, duplicates } : { sum: unchanged + stale + duplicates })
})

const stored = Effect.fnUntraced(function* (runId: string) {
  const sql = yield* SqlClient
  const products = yield* sql<Entry & { id: string }>`
    SELECT id, raw AS content, removed_at IS NOT NULL AS removed, last_run_id AS run, public_price_cents AS price
    FROM public.products`
  const changes = yield* sql<{ id: string; change: string }>`
    SELECT product_id AS id, change FROM medipim.product_changes WHERE run_id = ${runId}`
  return {
    products: new Map(products.map(({ id, ...entry }) => [id, entry])),
    changes: new Map(changes.map(({ id, change }) => [id, change]))
  }
})

const entriesOf = (catalogue: CatalogueModel): ReadonlyMap<string, Entry> =>
  new Map([...catalogue].map(([id, { text: _text, ...entry }]) => [id, entry]))

/** The table as the lines make it: without when and by which run it was written, what was removed, and a price that was kept. */
const madeOfLines = Effect.gen(function* () {
  const sql = yield* SqlClient
  const products = yield* sql<Record<string, unknown>>`SELECT * FROM public.products ORDER BY id`
  return products.map(
    ({ first_seen_at, changed_at, removed_at, last_run_id, public_price_cents, ...columns }) => columns
  )
})

/** Whatever happened before: each row, its hashes too, is what a first load makes of the line that wrote it last. */
const assertAsFreshLoad = Effect.fnUntraced(function* (catalogue: CatalogueModel) {
  const table = yield* madeOfLines
  yield* empty
  const runId = yield* beginRun()
  const texts = [...catalogue.values()].map(({ text }, index) => text(index, catalogue.size))
  const snapshotId = yield* writeSnapshot(texts)
  yield* stageAll(runId, snapshotId)
  yield* (yield* Publish).run({ runId, snapshotId, force: true })
  assert.deepStrictEqual(table, yield* madeOfLines, "the table and a fresh load")
})

const chunksOf = (dice: Dice, records: number) => {
  const chunks: Array<{ readonly offset: number; readonly limit: number }> = []
  for (let offset = 0; offset < records; offset += chunks.at(-1)?.limit ?? 0) {
    chunks.push({ offset, limit: Math.min(dice.int(1, 30), records - offset) })
  }
  return dice.shuffled(dice.chance(0.3) ? [...chunks, { ...dice.oneOf(chunks) }] : chunks)
}

/** A snapshot in the order in which it was fetched. */
interface Fetched {
  readonly snapshotId: SnapshotId
  readonly order: number
  readonly lines: ReadonlyArray<Line>
}

const fetchLines = Effect.fnUntraced(function* (dice: Dice, order: number, lines: ReadonlyArray<Line>) {
  // Each service has a clock of its own, and none of them is right.
  yield* setClock(dice.int(-3, 3) * DAY)
  const snapshotId = yield* writeSnapshot(lines.map(({ text }, index) => text(index, lines.length)))
  return { snapshotId, order, lines } satisfies Fetched
})

const step = Effect.fnUntraced(function* (dice: Dice, before: CatalogueModel, fetched: Fetched, isNewest: boolean) {
  const stage = yield* ChunkStager
  const publish = yield* Publish
  const { snapshotId, lines } = fetched
  yield* setClock(dice.int(-3, 3) * DAY)
  const runId = yield* beginRun()
  const expected = modelOf(before, lines, runId, isNewest)
  for (const chunk of chunksOf(dice, lines.length)) {
    yield* stage.chunk({ runId, snapshotId, ...chunk }, () => Effect.void)
  }
  if (dice.chance(0.2)) {
    const dry = yield* publish.run({ runId, snapshotId, force: true, dryRun: true })
    assert.deepStrictEqual(comparable(dry.counts), comparable(expected.counts), "counts of the dry run")
    assert.deepStrictEqual(yield* stored(runId), { products: entriesOf(before), changes: new Map() }, "dry run")
  }
  const { counts, warnings } = yield* publish.run({ runId, snapshotId, force: true })
  assert.deepStrictEqual(comparable(counts), comparable(expected.counts), "counts")
  const back = [...expected.changes.keys()].filter((id) => wentBack(before.get(id), expected.after.get(id)))
  const told = warnings
    .filter((warning) => warning.includes("went back in time"))
    .map((warning) => Number.parseInt(warning, 10))
  assert.deepStrictEqual(told, back.length === 0 ? [] : [back.length], "products that went back in time")
  const products = entriesOf(expected.after)
  assert.deepStrictEqual(yield* stored(runId), { products, changes: expected.changes }, "tables")
  return expected
})

const wentBack = (before: Entry | undefined, after: Entry | undefined): boolean =>
  before !== undefined && after !== undefined && after.content.meta.updatedAt < before.content.meta.updatedAt

const playHistory = Effect.fnUntraced(function* (history: number) {
  yield* empty
  const sql = yield* SqlClient
  yield* sql`DELETE FROM medipim.sync_runs`
  const dice = diceOf(seed + history)
  const nextLines = makeSource(dice)
  const played: Array<typeof zero> = []
  const steps = dice.int(3, 6)
  /** Says where in which history it broke. */
  const at = (step: number) =>
    Effect.catchCause((cause: Cause.Cause<unknown>) =>
      Effect.die(
        new Error(`MEDIPIM_RANDOM_SEED=${seed}, history ${history}, step ${step}: ${Cause.squash(cause)}`, { cause })
      )
    )
  let catalogue: CatalogueModel = new Map()
  const fetched: Array<Fetched> = []
  let newestPublished = -1
  for (let n = 0; n < steps; n++) {
    const latest = yield* fetchLines(dice, n, nextLines())
    fetched.push(latest)
    // Now and then a snapshot is fetched and not published, or an earlier one is published, again or late.
    const chosen = dice.chance(0.3) ? dice.oneOf(fetched) : latest
    const { after, counts } = yield* step(dice, catalogue, chosen, chosen.order >= newestPublished).pipe(at(n))
    newestPublished = Math.max(newestPublished, chosen.order)
    catalogue = after
    played.push(counts)
  }
  yield* assertAsFreshLoad(catalogue).pipe(at(steps))
  return played
})

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("Histories", (it) => {
  const play = Effect.gen(function* () {
    const played = (yield* Effect.forEach(Array.from({ length: histories }).keys(), playHistory)).flat()
    // What hardly ever happened would not have been tested.
    for (const key of Object.keys(zero) as Array<keyof typeof zero>) {
      assert.isAbove(played.filter((counts) => counts[key] > 0).length, histories / 5, `steps with ${key}`)
    }
  })
  it.effect(`does in ${histories} random histories what a model in memory does`, () => play, 300_000)
})
