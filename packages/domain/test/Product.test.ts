import { assert, describe, it } from "@effect/vitest"
import type { JsonObject } from "@medipim/domain/CanonicalJson"
import { contentOf } from "@medipim/domain/ContentHash"
import { decodeProduct } from "@medipim/domain/Product"
import { fingerprint, parseLine, peek } from "@medipim/domain/StreamLine"
import { Result } from "effect"

const resultOf = (text: string): JsonObject => {
  const parsed = parseLine(Buffer.from(`{"meta":{"total":1,"index":0},"result":${text}}`))
  if (parsed._tag !== "Line") throw new Error(`not a line: ${parsed._tag}`)
  return parsed.result
}
const rowOf = (text: string) => Result.getOrThrow(decodeProduct(resultOf(text))).row
const mark = (line: string): string => fingerprint(Buffer.from(line), peek(Buffer.from(line))?.resultStart ?? -1)

describe("Product", () => {
  it("accepts every form in which the sources send a value", () => {
    const row = rowOf(
      '{"id":"M1","name":"Plain","ean":[93999915,"0099999012347"],"eanGtin8":1234567,"hsCode":"010203",' +
        '"brands":[{"id":7,"name":{"en":"B"}}],"organizations":[{"id":"9","name":"O"}],"gs1Category":[],"artgId":""}'
    )
    assert.deepStrictEqual(row.ean, ["93999915", "0099999012347"])
    assert.strictEqual(row.ean_gtin8, "01234567")
    assert.strictEqual(row.hs_code, "010203")
    assert.deepStrictEqual([row.name, row.brand, row.organization], ["Plain", "B", "O"])
    assert.deepStrictEqual([row.brand_ids, row.organization_ids], [[7], [9]])
    assert.deepStrictEqual([row.gs1_category, row.artg_id, row.status], [null, null, null])
  })
  it("loses no digit of a code that came as a number", () => {
    const row = rowOf('{"id":"M1","snomedCtpp":999970110000361071}')
    assert.strictEqual(row.snomed_ctpp, "999970110000361071")
    assert.include(row.raw, '"snomedCtpp":999970110000361071')
  })
  it("rejects a product without a usable id, and nothing else that it does not understand", () => {
    for (const id of ['""', '" "', "null", "1.5", "true", "[]", '{"a":1}', `"${"x".repeat(201)}"`]) {
      assert.isTrue(Result.isFailure(decodeProduct(resultOf(`{"id":${id}}`))), id)
    }
    assert.isTrue(Result.isFailure(decodeProduct(resultOf('{"name":"no id"}'))))
    const product = Result.getOrThrow(decodeProduct(resultOf('{"id":7,"publicPrice":14.95,"artgId":{"a":1}}')))
    assert.strictEqual(product.row.id, "7")
    assert.deepStrictEqual(product.unknown, ["artg_id", "public_price_cents"])
  })
  it("rejects what Postgres cannot store", () => {
    for (const bad of ['"\\u0000"', '"\\ud800"', "1e131073"]) {
      assert.isTrue(Result.isFailure(decodeProduct(resultOf(`{"id":"M1","x":${bad}}`))), bad)
    }
  })
  it("hashes alike for every order of keys and every embedUrl, and not otherwise", () => {
    const hash = (text: string) => contentOf(resultOf(text)).hash
    const one = hash('{"id":"M1","a":{"x":1,"y":2},"meta":{"updatedAt":5,"embedUrl":"u1"}}')
    assert.strictEqual(one, hash('{"meta":{"embedUrl":"u2","updatedAt":5},"a":{"y":2,"x":1},"id":"M1"}'))
    assert.notStrictEqual(one, hash('{"id":"M1","a":{"x":1,"y":3},"meta":{"updatedAt":5}}'))
  })
  it("gives a line one fingerprint whatever its wrapper and embedUrl are", () => {
    const line = (index: number, name: string, url: string) =>
      `{"meta":{"total":9,"index":${index}},"result":{"id":"M1","name":"${name}","meta":{"updatedAt":5,"embedUrl":"${url}"}}}`
    assert.strictEqual(mark(line(1, "a", "x")), mark(line(2, "a", "y")))
    assert.notStrictEqual(mark(line(1, "a", "x")), mark(line(1, "b", "x")))
  })
})
