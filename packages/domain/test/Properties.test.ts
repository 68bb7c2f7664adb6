import { assert, describe, it } from "@effect/vitest"
import { random } from "@medipim/testing/Randomness"
import { Schema } from "effect"
import { ExactNumber, type JsonObject, parseExact } from "../src/CanonicalJson.ts"
import { partsOf, planChunks, rangeOf } from "../src/ChunkPlan.ts"
import { contentOf, versionOf } from "../src/ContentHash.ts"
import { RunId, timedIdOf } from "../src/Ids.ts"
import { makeLineSplitter } from "../src/LineSplitter.ts"
import { sourceColumns } from "../src/ProductColumns.ts"
import type { Part } from "../src/Snapshot.ts"
import { fingerprint, parseLine, peek } from "../src/StreamLine.ts"

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Text = Schema.String.check(Schema.isPattern(/^[^\n]*$/))
const Cuts = Schema.Array(whole(0, 500))

/** The bytes in pieces, cut at these places. */
const pieces = (bytes: Buffer, cuts: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const at = [...new Set(cuts.map((cut) => Math.min(cut, bytes.length)))].sort((a, b) => a - b)
  return [...at, bytes.length].map((end, i) => bytes.subarray(at[i - 1] ?? 0, end))
}

/** What may stand around a line and is not part of it. */
const Blank = Schema.Literals(["", " ", "\t", "\r", " \r", "\ufeff", "\ufeff \t"])
const trimmed = (line: Buffer): string =>
  line
    .toString()
    .replace(/^(?:[ \t\r]|\ufeff)+/, "")
    .replace(/[ \t\r]+$/, "")

describe("The line splitter", () => {
  const Line = Schema.Struct({ before: Blank, text: Text, after: Schema.Literals(["", " ", "\r", "\t\r"]) })
  const stream = { lines: Schema.Array(Line), rest: Text, cuts: Cuts }
  const bytesOf = (lines: ReadonlyArray<typeof Line.Type>, rest: string) =>
    Buffer.from(lines.map(({ before, text, after }) => `${before}${text}${after}\n`).join("") + rest)

  it.prop(
    "gives the same lines however the bytes are cut, and no blank ones",
    stream,
    ({ lines, rest, cuts }) => {
      const splitter = makeLineSplitter()
      const found = pieces(bytesOf(lines, rest), cuts).flatMap((piece) => splitter.push(piece).map(String))
      // Encoding to UTF-8 has replaced lone surrogates.
      const wanted = lines.map(({ before, text, after }) => trimmed(Buffer.from(before + text + after)))
      assert.deepStrictEqual(
        found,
        wanted.filter((line) => line !== "")
      )
      if (trimmed(Buffer.from(rest)) !== "") assert.isTrue(splitter.isOpen())
      if (/^[ \t\r]*$/.test(rest)) assert.isFalse(splitter.isOpen())
    },
    random()
  )

  it.prop(
    "hands out a line over the limit in pieces that add up to it, in its place",
    stream,
    ({ lines, rest, cuts }) => {
      const limit = 20
      const splitter = makeLineSplitter(limit)
      const found: Array<string> = []
      let long = ""
      for (const piece of pieces(bytesOf(lines, rest), cuts)) {
        for (const one of splitter.push(piece)) {
          if (one instanceof Uint8Array) {
            assert.isAtMost(one.length, limit)
            found.push(one.toString())
            continue
          }
          assert.strictEqual(one.first, long === "")
          long += one.bytes.toString("latin1")
          if (!one.last) continue
          assert.isAbove(long.length, limit)
          found.push(trimmed(Buffer.from(long, "latin1")))
          long = ""
        }
      }
      const wanted = lines.map(({ before, text, after }) => trimmed(Buffer.from(before + text + after)))
      assert.deepStrictEqual(
        found,
        wanted.filter((line) => line !== "")
      )
    },
    random()
  )
})

describe("The chunk plan", () => {
  const plan = { records: whole(0, 5000), offset: whole(0, 6000), limit: whole(1, 6000), size: whole(1, 700) }

  it.prop(
    "covers every record of the range exactly once",
    plan,
    ({ records, offset, limit, size }) => {
      const range = rangeOf(records, offset, limit)
      const covered = planChunks(range, size).flatMap((chunk) =>
        Array.from({ length: chunk.limit }, (_, i) => chunk.offset + i)
      )
      const wanted = Array.from({ length: records }, (_, i) => i).filter((i) => i >= offset && i < offset + limit)
      assert.deepStrictEqual(covered, wanted)
    },
    random()
  )

  it.prop(
    "reads exactly the parts that hold its records",
    { ...plan, part: whole(1, 900) },
    ({ records, offset, limit, part }) => {
      const parts = Array.from(
        { length: Math.ceil(records / part) },
        (_, i) => ({ key: String(i), firstRecord: i * part, records: Math.min(part, records - i * part) }) as Part
      )
      const chunk = rangeOf(records, offset, limit)
      const holds = ({ firstRecord, records: n }: Part) =>
        Array.from({ length: n }, (_, i) => firstRecord + i).some((i) => i >= offset && i < offset + chunk.limit)
      assert.deepStrictEqual(partsOf(parts, chunk), parts.filter(holds))
    },
    random()
  )
})

const Scalar = Schema.Union([Schema.Int, Schema.Boolean, Schema.Null, Text])
const Product = Schema.Record(Schema.String, Schema.Union([Scalar, Schema.Array(Scalar), Schema.Record(Text, Scalar)]))

const reversed = (value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, entry]) => [key, reversed(entry)])
      )
    : value

describe("The id of a run", () => {
  const year = 365 * 24 * 60 * 60 * 1000
  const Bits = whole(0, 0xffffffff)
  it.prop(
    "sorts by age, to the millisecond, whatever chance adds",
    { at: whole(0, 100 * year), later: whole(1, 2000), one: Bits, other: Bits },
    ({ at, later, one, other }) => {
      const [first, second] = [timedIdOf(at, one), timedIdOf(at + later, other)].map((id) => RunId.make(id))
      assert.isTrue(String(first) < String(second), `${first} < ${second}`)
    },
    random()
  )
})

describe("The content hash", () => {
  it.prop("does not see the order of keys, nor the signed address", { product: Product }, ({ product }) => {
    const plain = { ...product, meta: { createdAt: 1, updatedAt: 2 } } as JsonObject
    const signed = { embedUrl: "x", ...product, meta: { embedUrl: String(Math.random()), updatedAt: 2, createdAt: 1 } }
    const { embedUrl: _own, ...without } = plain
    assert.strictEqual(contentOf(reversed(signed) as JsonObject).hash, contentOf(without).hash)
  })

  it.prop(
    "sees every other change, and keeps the whole of the product",
    { product: Product },
    ({ product }) => {
      const { embedUrl: _own, meta: _meta, ...kept } = product
      const { raw, hash } = contentOf(kept as JsonObject)
      assert.deepStrictEqual(parseExact(raw), parseExact(JSON.stringify(kept)))
      assert.notStrictEqual(contentOf({ ...kept, "another key": 1 } as JsonObject).hash, hash)
    },
    random()
  )
})

describe("The version of the mapping", () => {
  const { status, pbs, vat } = sourceColumns
  it("is another one when a column is added, dropped, renamed, or read from another field or by another reader", () => {
    const versions = [
      { status, pbs },
      { status, pbs, vat },
      { status },
      { state: status, pbs },
      { status: { ...status, field: "state" }, pbs },
      { status, pbs: { ...pbs, read: status.read } },
      { status, pbs: { ...pbs, type: "varchar" } }
    ].map(versionOf)
    assert.strictEqual(new Set(versions).size, versions.length)
    assert.strictEqual(versionOf({ status, pbs }), versions[0])
  })
  it("tells readers apart: each has a name, and no other reader has it", () => {
    const readers = new Map<string, unknown>()
    for (const { read } of Object.values(sourceColumns)) {
      assert.notStrictEqual(read.name, "")
      // A reader of digits is made for its column.
      if (!read.name.startsWith("digits(")) assert.strictEqual(readers.get(read.name) ?? read, read, read.name)
      readers.set(read.name, read)
    }
    assert.isAbove(readers.size, 8)
  })
})

describe("A line of the stream", () => {
  const line = (product: unknown, index: number, url: string) =>
    Buffer.from(
      JSON.stringify({
        meta: { total: 99, index },
        result: { id: "M1", ...(product as object), meta: { createdAt: 1, updatedAt: 2, embedUrl: url } }
      })
    )

  it.prop(
    "has one fingerprint wherever it stands and however it is signed",
    { product: Product },
    ({ product }) => {
      const { id: _id, meta: _meta, embedUrl: _url, ...rest } = product
      const prints = [line(rest, 3, "https://a/1"), line(rest, 88, "https://bb/22")].map((bytes) => {
        const head = peek(bytes)
        assert.isDefined(head)
        return fingerprint(bytes, head?.resultStart ?? 0)
      })
      assert.strictEqual(prints[0], prints[1])
      const other = line({ ...rest, "another key": 1 }, 3, "https://a/1")
      assert.notStrictEqual(fingerprint(other, peek(other)?.resultStart ?? 0), prints[0])
    },
    random()
  )

  it("keeps every digit of a long number", () => {
    const parsed = parseLine(
      Buffer.from('{"meta":{"total":1,"index":0},"result":{"id":"M1","snomedMp":123456789012345678}}')
    )
    assert.deepStrictEqual(parsed._tag === "Line" && parsed.result.snomedMp, new ExactNumber("123456789012345678"))
    assert.deepStrictEqual(parseExact("[-9007199254740993]"), [new ExactNumber("-9007199254740993")])
  })
})
