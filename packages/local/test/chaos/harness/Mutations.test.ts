import { assert, describe, it } from "@effect/vitest"
import { outdated } from "./Mutations.ts"

describe("The guards of the chaos suite", () => {
  it("are broken where they stand in the tree", () => {
    assert.deepStrictEqual(outdated, [])
  })
})
