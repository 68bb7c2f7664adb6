import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "../../src/Workspace.ts"

const folder = join(root, "docs", "openapi")

interface Named {
  readonly summary?: string
  readonly description?: string
}
interface Document {
  readonly info: Named
  readonly tags: ReadonlyArray<Named & { readonly name: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, Named>>>>
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Where a property or a parameter stands that says nothing of itself. */
const silent = (value: unknown, path: string): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap((entry, n) => silent(entry, `${path}/${n}`))
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, entry]) => {
    const inner = silent(entry, `${path}/${key}`)
    if (key === "properties" && isObject(entry)) {
      // The tag of an error or an event is its name.
      const mute = Object.keys(entry).filter((name) => name !== "_tag" && !says(entry[name]))
      return [...mute.map((name) => `${path}/${name}`), ...inner]
    }
    if (key === "parameters" && Array.isArray(entry)) {
      const mute = entry.filter((one) => !says(one) && !says(isObject(one) ? one.schema : undefined))
      return [...mute.map((one) => `${path} ${JSON.stringify(one)}`), ...inner]
    }
    return inner
  })
}
const says = (value: unknown): boolean =>
  isObject(value) && typeof value.description === "string" && value.description.length > 8

describe("What /docs shows", () => {
  for (const file of readdirSync(folder)) {
    const document = JSON.parse(readFileSync(join(folder, file), "utf8")) as Document
    it(`explains every operation, parameter and field of ${file}`, () => {
      assert.isTrue(says(document.info))
      for (const tag of document.tags) assert.isTrue(says(tag), tag.name)
      for (const [path, methods] of Object.entries(document.paths)) {
        for (const [method, operation] of Object.entries(methods)) {
          assert.isTrue(says(operation), `${method} ${path}`)
          assert.isAbove(operation.summary?.length ?? 0, 3, `${method} ${path}`)
        }
      }
      assert.deepStrictEqual(silent(document, ""), [])
    })
  }
})
