import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { FailureCode, failureOf, RunFailure } from "../src/Run.ts"

describe("A failure", () => {
  it("keeps a code that the documents explain", () => {
    for (const code of FailureCode.literals) assert.deepStrictEqual(failureOf(code, "why"), { code, message: "why" })
  })
  it("is a defect under any other code, which its message names", () => {
    assert.deepStrictEqual(failureOf("SchemaError", "Missing key"), {
      code: "Defect",
      message: "SchemaError: Missing key"
    })
  })
  it("of another version can be read, whatever its code", () => {
    const read = Schema.decodeUnknownSync(RunFailure)
    assert.deepStrictEqual(read({ code: "FromTomorrow", message: "why" }), { code: "Defect", message: "why" })
    assert.deepStrictEqual(read({ code: "Busy", message: "why" }), { code: "Busy", message: "why" })
  })
})
