import { assert, describe, it } from "@effect/vitest"
import { noOutcomes } from "@medipim/domain/Outcomes"
import {
  countsOf,
  decidePublish,
  incompleteness,
  nothingToPublish,
  reasonNotToRemove,
  refusalOf,
  type Scope,
  type StagedFacts,
  tooManyRejected,
  tooManyRemoved,
  unknownShapes,
  valuesLost,
  warningsOf
} from "@medipim/domain/PublishRules"

/** A run that staged all of its hundred records, as new products. */
const staged: StagedFacts = {
  chunkRecords: 100,
  known: 100,
  distinct: 100,
  rejected: 0,
  rejectedWithoutId: 0,
  inserted: 100,
  updated: 0,
  restored: 0,
  stagedByChunks: 100,
  superseded: 0,
  stale: 0,
  wentBack: 0,
  wentBackExample: null,
  present: 0,
  newerPublished: null,
  unknownFields: [],
  lostFields: []
}
const scope: Scope = { snapshot: { complete: true, records: 100 }, records: 100 }

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
    assert.match(tooManyRejected(2, 120) ?? "", /^2 of 120 records were rejected, more than 1 %\..*force/)
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
    const empty = { complete: false, records: 0 }
    assert.match(nothingToPublish({ snapshot: empty, records: 0 }) ?? "", /empty answer/)
    assert.match(nothingToPublish({ ...scope, records: 0 }) ?? "", /offset is beyond the end/)
    assert.isUndefined(nothingToPublish({ ...scope, records: 1 }))
  })
})

describe("A staging", () => {
  it.each<[string, Partial<StagedFacts>, RegExp | undefined]>([
    ["that has every record", {}, undefined],
    ["of unchanged products alone", { inserted: 0, stagedByChunks: 0 }, undefined],
    ["whose records are known or rejected", { known: 99, distinct: 99, rejected: 1 }, undefined],
    ["that lacks a chunk", { chunkRecords: 80 }, /80 of 100 records were staged/],
    ["with a record too many", { chunkRecords: 101 }, /101 of 100 records were staged/],
    ["with a record that is neither", { known: 99, distinct: 99 }, /99 of 100 records are accounted for/],
    ["with a record that is both", { rejected: 1 }, /101 of 100 records are accounted for/],
    ["that lost a row", { inserted: 99 }, /holds 99 rows, 100 were written/],
    ["with a row that nobody wrote", { updated: 1 }, /holds 101 rows, 100 were written/],
    ["whose two lines of a product became one row", { distinct: 99, inserted: 99 }, undefined],
    ["whose row gave way to an unchanged line", { distinct: 99, inserted: 99, superseded: 1 }, undefined],
    ["that lost a row more than that", { distinct: 99, inserted: 98 }, /holds 98 rows/]
  ])("%s", (_name, differs, why) => {
    const said = incompleteness({ ...staged, ...differs }, 100)
    if (why === undefined) assert.isUndefined(said)
    else assert.match(said ?? "", why)
  })
})

describe("The decision to publish", () => {
  const brakes = { force: false, toleratedFields: new Set<string>() }
  const same = { ...staged, inserted: 0, stagedByChunks: 0, present: 100 }
  const decide = (facts: StagedFacts, removed: ReadonlyArray<string> = [], force = false) =>
    decidePublish(facts, scope, removed, { ...brakes, force })

  it("publishes with counts, and says why nothing was removed", () => {
    assert.deepStrictEqual(decide({ ...staged, newerPublished: "20261124T020000Z-00000001" }), {
      _tag: "Publish",
      counts: { ...noOutcomes, records: 100, inserted: 100 },
      warnings: [
        "No product was removed: a newer snapshot (20261124T020000Z-00000001) was published before.",
        "100 products were added and 0 restored from this snapshot, which is older than 20261124T020000Z-00000001: the newer one may not have them."
      ],
      isUpToDate: false
    })
  })
  it("refuses with what it would have done; force opens a brake, but not what is incomplete", () => {
    const facts = { ...same, present: 101 }
    const many = ["M1", "M2", "M3", "M4", "M5", "M6"]
    const refused = decide(facts, many)
    assert.deepInclude(refused, { _tag: "Refuse", reason: "too-many-removed" })
    assert.deepInclude(refused.counts, { unchanged: 100, removed: 6 })
    assert.strictEqual(decide(facts, many, true)._tag, "Publish")
    assert.deepInclude(decide({ ...facts, chunkRecords: 99 }, many, true), {
      _tag: "Refuse",
      reason: "incomplete-staging"
    })
  })
  it.each<[string, Partial<StagedFacts>, ReadonlyArray<string>, boolean]>([
    ["when every line is unchanged and every product named", {}, [], true],
    ["not with a new product", { inserted: 1, stagedByChunks: 1 }, [], false],
    ["not with a changed product", { updated: 1, stagedByChunks: 1 }, [], false],
    ["not with a restored product", { restored: 1, stagedByChunks: 1 }, [], false],
    ["not with a rejected line", { rejected: 1, known: 99, distinct: 99, present: 99 }, [], false],
    ["not with a product to remove", { present: 101 }, ["M1"], false],
    ["not when the table lacks a product that did not change", { present: 99 }, [], false],
    ["not when nothing can be removed", { newerPublished: "20261124T020000Z-00000001" }, [], false]
  ])("finds the table up to date: %s", (_name, differs, removed, isUpToDate) => {
    assert.deepInclude(decide({ ...same, ...differs }, removed), { _tag: "Publish", isUpToDate })
  })
})

describe("Removals", () => {
  const newer = "20261124T020000Z-00000001"
  it.each<[string, Partial<StagedFacts>, Partial<Scope>, RegExp | undefined]>([
    ["are on for the whole of a complete snapshot", {}, {}, undefined],
    [
      "are on though a line that tells its product was rejected",
      { known: 99, distinct: 99, rejected: 1 },
      {},
      undefined
    ],
    [
      "are off for a snapshot that is not complete",
      {},
      { snapshot: { complete: false, records: 100 } },
      /not complete/
    ],
    ["are off behind a newer snapshot", { newerPublished: newer }, {}, /a newer snapshot \(20261124T020000Z/],
    ["are off for a range", {}, { records: 99 }, /only a part/],
    ["are off when a rejected line has no id", { rejectedWithoutId: 1 }, {}, /1 rejected lines have no product id/],
    ["are off when a product comes twice", { distinct: 98 }, {}, /2 lines repeat a product id/]
  ])("%s", (_name, differs, of, why) => {
    const said = reasonNotToRemove({ ...staged, ...differs }, { ...scope, ...of })
    if (why === undefined) assert.isUndefined(said)
    else assert.match(said ?? "", why)
  })
})

describe("A field in an unknown shape", () => {
  const field = (products: number) => ({ field: "organizations", products, example: "M1" })
  it.each([
    [1, 99, false],
    [1, 100, true],
    [1080, 108_000, true],
    [1081, 108_000, false]
  ])("in %i of %i records: passes %s", (products, records, passes) => {
    assert.strictEqual(unknownShapes([field(products)], records) === undefined, passes)
  })
  it("is named with its number, an example and both ways to go on", () => {
    const said = unknownShapes([field(2), { ...field(1), field: "pbs" }], 100) ?? ""
    assert.match(said, /^organizations of 2 products \(for example M1\) came in an unknown shape/)
    assert.match(said, /force, or set TOLERATED_FIELDS=organizations on the maintainer/)
    assert.notInclude(said, "pbs")
  })
  it("is in the warnings of a run that publishes, however rare it is", () => {
    assert.deepStrictEqual(warningsOf({ ...staged, unknownFields: [field(1)] }, scope), [
      "organizations came in an unknown shape for 1 products (for example M1): the stored value was kept."
    ])
  })
})

describe("A field that loses its values", () => {
  const lost = (products: number, holders: number) => ({ field: "brands", products, holders, example: "M1" })
  it.each([
    [19, 19, true],
    [20, 20, false],
    [20, 39, false],
    [20, 40, true],
    [54_000, 108_000, true],
    [54_001, 108_000, false]
  ])("in %i of %i products: passes %s", (products, holders, passes) => {
    assert.strictEqual(valuesLost([lost(products, holders)]) === undefined, passes)
  })
})

describe("The brakes", () => {
  const strict = { force: false, toleratedFields: new Set<string>() }
  const bad: Partial<StagedFacts> = {
    known: 98,
    distinct: 98,
    inserted: 98,
    rejected: 2,
    stagedByChunks: 98,
    present: 10,
    unknownFields: [{ field: "pbs", products: 2, example: "M1" }],
    lostFields: [{ field: "brands", products: 50, holders: 60, example: "M2" }]
  }
  it.each<[string, Partial<StagedFacts>, number, Partial<typeof strict>, string | undefined]>([
    ["stop at rejected lines", bad, 5, {}, "too-many-rejected"],
    [
      "stop at unknown shapes",
      { ...bad, known: 100, distinct: 100, inserted: 100, stagedByChunks: 100, rejected: 0 },
      5,
      {},
      "unknown-shape"
    ],
    [
      "stop at lost values",
      { lostFields: bad.lostFields ?? [], unknownFields: bad.unknownFields ?? [] },
      0,
      { toleratedFields: new Set(["pbs"]) },
      "values-lost"
    ],
    ["stop at removals", { present: 10 }, 1, {}, "too-many-removed"],
    [
      "let tolerated fields pass",
      { ...bad, known: 100, distinct: 100, inserted: 100, stagedByChunks: 100, rejected: 0 },
      0,
      { toleratedFields: new Set(["pbs", "brands"]) },
      undefined
    ],
    ["are off with force", bad, 5, { force: true }, undefined],
    [
      "do not let an incomplete staging pass with force",
      { ...bad, known: 97, distinct: 97 },
      0,
      { force: true },
      "incomplete-staging"
    ]
  ])("%s", (_name, differs, removed, brakes, reason) => {
    assert.strictEqual(refusalOf({ ...staged, ...differs }, scope, removed, { ...strict, ...brakes })?.reason, reason)
  })
})

describe("The counts", () => {
  it("count each record once", () => {
    const mixed: StagedFacts = {
      ...staged,
      known: 98,
      distinct: 95,
      inserted: 10,
      updated: 5,
      restored: 1,
      stale: 4,
      rejected: 2
    }
    assert.deepStrictEqual(countsOf(mixed, 100, 7), {
      records: 100,
      inserted: 10,
      updated: 5,
      restored: 1,
      stale: 4,
      unchanged: 75,
      duplicates: 3,
      rejected: 2,
      removed: 7
    })
  })
})
