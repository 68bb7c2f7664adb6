import { assert, describe, it } from "@effect/vitest"
import { makeStreamCheck } from "@medipim/domain/StreamCheck"
import { parseLine, peek } from "@medipim/domain/StreamLine"

const line = (index: number, total: number) =>
  Buffer.from(`{"meta":{"total":${total},"index":${index}},"result":{"id":"M00000000${index}"}}`)

const check = (lines: ReadonlyArray<Buffer>, rest = "") => {
  const stream = makeStreamCheck()
  for (const bytes of lines) {
    const fault = stream.accept(bytes)
    if (fault !== undefined) return fault.fault
  }
  return stream.finish(rest !== "")?.fault
}

describe("peek", () => {
  const withId = (id: string) => Buffer.from(`{"meta":{"total":1,"index":0},"result":{"id":${JSON.stringify(id)}}}`)
  it("gives an id only when its bytes are its characters", () => {
    for (const id of ["M0000000001", "a b", "~!#[]"]) assert.strictEqual(peek(withId(id))?.id, id)
    for (const id of ["Mé", "M\u00a0", "药", "M\n", "M\\", "", "M\u007f", "x".repeat(101), "   "]) {
      assert.deepStrictEqual(peek(withId(id)), { total: 1, index: 0, id: undefined, resultStart: 39 }, id)
    }
  })
})

describe("StreamCheck", () => {
  it("takes a stream whose index runs without a gap to total - 1", () => {
    assert.strictEqual(check([line(0, 3), line(1, 3), line(2, 3)]), undefined)
  })
  it("tells a stream that ends early, with or without its last newline", () => {
    assert.strictEqual(check([line(0, 3), line(1, 3)]), "cut")
    assert.strictEqual(check([line(0, 1)], '{"meta"'), "cut")
    assert.strictEqual(check([]), "cut")
  })
  it("tells a gap, a repeated line and a total that changes", () => {
    assert.strictEqual(check([line(0, 3), line(2, 3)]), "gap")
    assert.strictEqual(check([line(0, 3), line(0, 3)]), "gap")
    assert.strictEqual(check([line(0, 3), line(1, 4)]), "total")
    assert.strictEqual(check([line(0, 1), line(1, 1)]), "total")
  })
  it("lets an unreadable line keep its place between its neighbours", () => {
    assert.strictEqual(check([line(0, 3), Buffer.from("{garbage"), line(2, 3)]), undefined)
    assert.strictEqual(check([line(0, 2), Buffer.from("{garbage"), line(1, 2)]), "gap")
  })
  it("does not take a last line for a record that does not say where it stands", () => {
    for (const last of ["{garbage", "Fatal error: out of memory", '{"result":{"id":"M1"}}']) {
      assert.strictEqual(check([line(0, 2), Buffer.from(last)]), "cut", last)
    }
    for (const result of ["[]", "null"]) {
      const last = `{"meta":{"total":2,"index":1},"result":${result}}`
      assert.strictEqual(check([line(0, 2), Buffer.from(last)]), undefined, last)
    }
    // Its place can be read, and the maintainer says what is wrong with it.
    assert.strictEqual(check([line(0, 2), Buffer.from('{"meta":{"total":2,"index":1},"result":{"id":tru')]), undefined)
  })
  it("tells an error line and an answer that is no stream", () => {
    assert.strictEqual(check([line(0, 2), Buffer.from('{"error":{"message":"down"}}')]), "source-error")
    assert.strictEqual(check([Buffer.from("<html>")]), "not-a-stream")
  })
  it("passes the text of an error line on without what a terminal acts on", () => {
    const message = 'down\u001b[2J\n{"level":"INFO"}\u202e!'
    for (const error of [{ message }, { code: message }, message]) {
      assert.deepStrictEqual(parseLine(Buffer.from(JSON.stringify({ error }))), {
        _tag: "SourceError",
        message: 'down [2J {"level":"INFO"} !'
      })
    }
  })
})
