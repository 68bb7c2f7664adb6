import { assert, describe, it } from "@effect/vitest"
import { FailureCode, failureOf } from "../src/Run.ts"

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
})
