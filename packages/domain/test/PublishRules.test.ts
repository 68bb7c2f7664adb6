import { assert, describe, it } from "@effect/vitest"
import {
  incompleteness,
  nothingToPublish,
  removalsOff,
  type Staged,
  tooManyRejected,
  tooManyRemoved
} from "@medipim/domain/PublishRules"

/** A run that staged all of its hundred records, as new products. */
const staged: Staged = {
  chunkRecords: 100,
  known: 100,
  distinct: 100,
  rejected: 0,
  rejectedWithoutId: 0,
  stagedRows: 100,
  stagedByChunks: 100,
  present: 0,
  newestPublished: null
}
const snapshot = { snapshotId: "20261123T020000Z-00000001", complete: true, records: 100 }

describe("The brake on rejected lines", () => {
  it.each([
    [0, 0, true],
    [0, 1, true],
    [1, 99, false],
    [1, 100, true],
    [2, 100, false],
    [1, 120, true],
    [2, 120, false],
    [1080, 108_000, true],
    [1081, 108_000, false],
    [100, 100, false]
  ])("%i of %i records: passes %s", (rejected, records, passes) => {
    assert.strictEqual(tooManyRejected(rejected, records) === undefined, passes)
  })
  it("says how many, the limit and the way to go on", () => {
    assert.match(tooManyRejected(2, 120) ?? "", /^2 of 120 records could not be decoded, more than 1 %\..*force/)
  })
})

describe("The brake on removals", () => {
  it.each([
    [0, 0, true],
    [0, 1, true],
    [1, 19, false],
    [1, 20, true],
    [2, 20, false],
    [2, 40, true],
    [3, 40, false],
    [5400, 108_000, true],
    [5401, 108_000, false],
    [100, 100, false]
  ])("%i of %i products: passes %s", (removed, present, passes) => {
    assert.strictEqual(tooManyRemoved(removed, present) === undefined, passes)
  })
  it("says how many, the limit and the way to go on", () => {
    assert.match(tooManyRemoved(3, 40) ?? "", /^3 of 40 products would be removed, more than 5 %\..*force/)
  })
})

it("The borders of both brakes lie exactly at their share, whatever the size", () => {
  for (let n = 1; n <= 5000; n++) {
    assert.isUndefined(tooManyRejected(n, 100 * n))
    assert.isDefined(tooManyRejected(n, 100 * n - 1))
    assert.isUndefined(tooManyRemoved(n, 20 * n))
    assert.isDefined(tooManyRemoved(n, 20 * n - 1))
  }
})

describe("A run over nothing", () => {
  it("is refused, be it an empty answer or a range beyond the end", () => {
    assert.match(nothingToPublish({ complete: false }, 0) ?? "", /empty answer/)
    assert.match(nothingToPublish({ complete: true }, 0) ?? "", /offset is beyond the end/)
    assert.isUndefined(nothingToPublish({ complete: true }, 1))
  })
})

describe("A staging", () => {
  it.each<[string, Partial<Staged>, RegExp | undefined]>([
    ["that has every record", {}, undefined],
    ["of unchanged products alone", { stagedRows: 0, stagedByChunks: 0 }, undefined],
    ["whose records are known or rejected", { known: 99, distinct: 99, rejected: 1 }, undefined],
    ["that lacks a chunk", { chunkRecords: 80 }, /80 of 100 records were staged/],
    ["with a record too many", { chunkRecords: 101 }, /101 of 100 records were staged/],
    ["with a record that is neither", { known: 99, distinct: 99 }, /99 of 100 records are accounted for/],
    ["with a record that is both", { rejected: 1 }, /101 of 100 records are accounted for/],
    ["that lost a row", { stagedRows: 99 }, /holds 99 rows, 100 were written/],
    ["with a row that nobody wrote", { stagedRows: 101 }, /holds 101 rows, 100 were written/],
    ["whose two lines of a product became one row", { distinct: 99, stagedRows: 99 }, undefined],
    ["that lost a row more than that", { distinct: 99, stagedRows: 98 }, /holds 98 rows/]
  ])("%s", (_name, differs, why) => {
    const said = incompleteness({ ...staged, ...differs }, 100)
    if (why === undefined) assert.isUndefined(said)
    else assert.match(said ?? "", why)
  })
})

describe("Removals", () => {
  const newer = "20261124T020000Z-00000001"
  it.each<[string, Partial<Staged>, Partial<typeof snapshot>, number, RegExp | undefined]>([
    ["are on for the whole of a complete snapshot", {}, {}, 100, undefined],
    [
      "are on when the same snapshot was published before",
      { newestPublished: snapshot.snapshotId },
      {},
      100,
      undefined
    ],
    [
      "are on though a line that tells its product was rejected",
      { known: 99, distinct: 99, rejected: 1 },
      {},
      100,
      undefined
    ],
    ["are off for a snapshot that is not complete", {}, { complete: false }, 100, /not complete/],
    ["are off behind a newer snapshot", { newestPublished: newer }, {}, 100, /a newer snapshot \(20261124T020000Z/],
    ["are off for a range", {}, {}, 99, /only a part/],
    ["are off when a rejected line tells no product", { rejectedWithoutId: 1 }, {}, 100, /1 rejected lines/],
    ["are off when a product comes twice", { distinct: 98 }, {}, 100, /2 lines name a product/]
  ])("%s", (_name, differs, of, records, why) => {
    const said = removalsOff({ ...staged, ...differs }, { ...snapshot, ...of }, records)
    if (why === undefined) assert.isUndefined(said)
    else assert.match(said ?? "", why)
  })
})
