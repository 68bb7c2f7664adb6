import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { idOf, makeCatalogue } from "../src/Catalogue.ts"
import { lineOf, resultOf } from "../src/Product.ts"
import { Simulator } from "../src/Simulator.ts"

const products = 600
const keySecret = Redacted.make("simulator-test-secret")
const simulated = (options: { readonly products?: number; readonly file?: string } = {}) =>
  Simulator.layer({ port: 0, products, seed: 5, keyId: "9", keySecret, ...options })

type Json = Record<string, unknown>
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: Json
}

const ask = (path: string, body?: unknown, secret = "simulator-test-secret", method = "POST") =>
  Effect.flatMap(Simulator, ({ origin }) =>
    Effect.promise(async (): Promise<Answer> => {
      const answer = await fetch(`${origin}${path}`, {
        method,
        headers: { authorization: `Basic ${btoa(`9:${secret}`)}` },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
      })
      const text = await answer.text()
      const parsed = text.startsWith("{") && !text.includes("\n") ? (JSON.parse(text) as Json) : {}
      return { status: answer.status, headers: answer.headers, text, body: parsed }
    })
  )

const stream = (filter: unknown, sorting: unknown = { createdAt: "ASC" }) =>
  Effect.map(ask("/v4/products/stream", { filter, sorting }), ({ status, text }) => ({
    status,
    results: text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { readonly meta: Json; readonly result: Json & { readonly meta: Json } })
  }))
const query = (page: unknown, filter: unknown = { status: "active" }) =>
  ask("/v4/products/query", { filter, sorting: { id: "ASC" }, page })
const ids = (lines: ReadonlyArray<{ readonly result: Json }>) => lines.map(({ result }) => String(result.id))

describe("The made catalogue", () => {
  it("is the same for a seed, another for another, and names no product twice", () => {
    const of = (seed: number) => Array.from({ length: 50 }, (_, i) => idOf(seed, i))
    assert.deepStrictEqual(of(1), of(1))
    assert.notDeepEqual(of(1), of(2))
    const all = Array.from({ length: 300_000 }, (_, i) => idOf(1, i))
    assert.strictEqual(new Set(all).size, all.length)
    assert.isTrue(all.every((id) => /^M[0-9A-F]{9}$/.test(id)))
  })

  it("has lines of about 5.6 KB in every form that sources disagree on", () => {
    const catalogue = makeCatalogue(1, 3000)
    const facts = Array.from({ length: 3000 }, (_, i) => catalogue.factsOf(i))
    const lines = facts.map((one, i) => lineOf(1, 3000, one, i, 3000))
    const average = lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0) / lines.length
    assert.isAbove(average, 5200)
    assert.isBelow(average, 6000)
    const results = facts.map((one) => resultOf(1, 3000, one))
    const forms = (key: string) =>
      new Set(
        results.map((result) => {
          const value = result[key]
          if (value === "") return "empty text"
          if (Array.isArray(value)) return value.length === 0 ? "empty list" : `list of ${typeof value[0]}`
          return value === null ? "null" : typeof value
        })
      )
    assert.deepStrictEqual(forms("name"), new Set(["object", "string"]))
    for (const form of ["list of string", "list of number", "empty list"]) assert.isTrue(forms("ean").has(form), form)
    for (const form of ["null", "undefined", "empty text", "empty list", "string", "number"]) {
      assert.isTrue(forms("eanGtin8").has(form), form)
    }
    for (const mark of ["\\/", "\\u00b0", "°", '"snomedMpp":1', '"scheduleCode"']) {
      assert.isTrue(
        lines.some((line) => line.includes(mark)),
        mark
      )
    }
  })
})

layer(simulated(), { excludeTestServices: true })("The simulated API", (it) => {
  it.effect("streams numbered lines, signed anew each time", () =>
    Effect.gen(function* () {
      const { results } = yield* stream({ status: ["active", "inactive", "replaced"] })
      assert.deepStrictEqual(
        results.map(({ meta }) => meta),
        Array.from({ length: products }, (_, index) => ({ total: products, index }))
      )
      const again = yield* stream({ id: [String(results[0]?.result.id)] })
      assert.notStrictEqual(again.results[0]?.result.meta.embedUrl, results[0]?.result.meta.embedUrl)
    })
  )

  it.effect("filters by id, status and times, and combines filters", () =>
    Effect.gen(function* () {
      const all = (yield* stream({ status: ["active", "inactive", "replaced"] })).results
      const active = (yield* stream({ status: "active" })).results
      assert.isTrue(active.every(({ result }) => result.status === "active"))
      const others = (yield* stream({ not: { status: "active" } })).results
      assert.strictEqual(active.length + others.length, products)
      const [first] = ids(all)
      assert.deepStrictEqual(ids((yield* stream({ id: first })).results), [first])
      const from = all[100]?.result.meta.createdAt as number
      const since = (yield* stream({ createdAt: from })).results
      assert.isTrue(since.every(({ result }) => (result.meta.createdAt as number) >= from))
      const until = (yield* stream({ createdAt: { from: 0, until: from } })).results
      const both = (yield* stream({ and: [{ createdAt: from }, { createdAt: { until: from } }] })).results
      assert.strictEqual(since.length + until.length - both.length, products)
      const either = (yield* stream({ or: [{ status: "replaced" }, { status: "inactive" }] })).results
      assert.strictEqual(either.length, others.length)
      const updated = all[7]?.result.meta.updatedAt as number
      const changed = (yield* stream({ updatedSince: updated })).results
      assert.isTrue(changed.every(({ result }) => (result.meta.updatedAt as number) >= updated))
    })
  )

  it.effect("sorts as it is asked to", () =>
    Effect.gen(function* () {
      const by = Effect.fnUntraced(function* (
        sorting: unknown,
        key: (result: Json & { readonly meta: Json }) => unknown
      ) {
        const { results } = yield* stream({ status: "active" }, sorting)
        return results.map(({ result }) => key(result) as string | number)
      })
      const rising = (list: ReadonlyArray<string | number>) =>
        list.every((one, i) => i === 0 || one >= (list[i - 1] ?? one))
      assert.isTrue(rising(yield* by({ id: "ASC" }, ({ id }) => id)))
      assert.isTrue(rising((yield* by({ id: "DESC" }, ({ id }) => id)).reverse()))
      assert.isTrue(rising(yield* by({ createdAt: "ASC" }, ({ meta }) => meta.createdAt)))
      assert.isTrue(rising(yield* by({ touchedAt: "ASC" }, ({ meta }) => meta.updatedAt)))
      const nameOf = ({ name }: Json) => (typeof name === "string" ? name : (name as { readonly en: string }).en)
      assert.isTrue(rising(yield* by({ name: { direction: "ASC", locale: "en" } }, nameOf)))
    })
  )

  it.effect("answers 204 with nothing when nothing matches", () =>
    Effect.gen(function* () {
      const { status, text } = yield* ask("/v4/products/stream", { filter: { id: "none" }, sorting: { id: "ASC" } })
      assert.deepStrictEqual([status, text], [204, ""])
    })
  )

  it.effect("refuses as MediPim does", () =>
    Effect.gen(function* () {
      const codeOf = ({ status, body }: Answer) => [status, (body.error as Json | undefined)?.code]
      const path = "/v4/products/stream"
      const good = { filter: { status: "active" }, sorting: { id: "ASC" } }
      assert.deepStrictEqual(codeOf(yield* ask(path, good, "wrong")), [401, "authentication.not_authenticated"])
      assert.deepStrictEqual(codeOf(yield* ask(path, "{not json")), [400, "bad_request"])
      assert.deepStrictEqual(codeOf(yield* ask(path, { filter: {} })), [400, "bad_request"])
      for (const bad of [
        { ...good, filter: { colour: "red" } },
        { ...good, filter: { status: "gone" } },
        { ...good, filter: { createdAt: "yesterday" } },
        { ...good, sorting: { price: "ASC" } },
        { ...good, sorting: { id: "UP" } }
      ]) {
        const answer = yield* ask(path, bad)
        assert.strictEqual(answer.status, 422)
        assert.strictEqual(((answer.body.error as Json).violations as ReadonlyArray<unknown>).length, 1)
      }
      assert.strictEqual((yield* query({ no: 0, size: 33 })).status, 422)
    })
  )

  it.effect("pages through at most 10,000 results", () =>
    Effect.gen(function* () {
      const { body } = yield* query({ no: 1, size: 50 })
      assert.deepInclude(body.meta as Json, { page: { no: 1, offset: 50, size: 50 } })
      assert.strictEqual((body.results as ReadonlyArray<unknown>).length, 50)
      assert.strictEqual((yield* query({ no: 39, size: 250 })).status, 200)
      assert.strictEqual((yield* query({ no: 40, size: 250 })).status, 422)
    })
  )

  it.effect("changes what it is told to change, and says what that was", () =>
    Effect.gen(function* () {
      const before = (yield* stream({ status: ["active", "inactive", "replaced"] })).results
      const { body } = yield* ask("/control/changes", { update: 5, remove: 4, deactivate: 3, deselect: 2, add: 6 })
      const after = new Map((yield* stream({})).results.map(({ result }) => [String(result.id), result]))
      const of = (key: string) => body[key] as ReadonlyArray<string>
      assert.deepStrictEqual(
        ["updated", "removed", "deactivated", "deselected", "added"].map((key) => of(key).length),
        [5, 4, 3, 2, 6]
      )
      assert.isTrue(of("removed").every((id) => !after.has(id)))
      assert.isTrue(of("added").every((id) => after.has(id)))
      assert.isTrue(of("deactivated").every((id) => after.get(id)?.status === "inactive"))
      assert.isTrue(of("deselected").every((id) => after.get(id)?.status === "no_selection"))
      for (const { result } of before.filter(({ result }) => of("updated").includes(String(result.id)))) {
        assert.isAbove(after.get(String(result.id))?.meta.updatedAt as number, result.meta.updatedAt as number)
        assert.notDeepEqual(after.get(String(result.id))?.name, result.name)
      }
      assert.strictEqual(after.size, products + 6 - 4)
      const bad = yield* ask("/control/changes", { update: -1, rename: 3 })
      assert.strictEqual(bad.status, 400)
    })
  )

  it.effect("tells of its faults how many wait, and how many have come about", () =>
    Effect.gen(function* () {
      const faults = Effect.map(ask("/control/faults", undefined, undefined, "GET"), ({ body }) => body)
      yield* ask("/control/faults", { fault: "refused" })
      yield* ask("/control/faults", { fault: "duplicate-line", at: 3 })
      yield* ask("/control/faults", { fault: "gap", at: 1_000_000 })
      assert.deepStrictEqual(yield* faults, { armed: 3, struck: 0 })
      for (let i = 0; i < 2; i++) yield* stream({})
      assert.deepStrictEqual(yield* faults, { armed: 1, struck: 2 })
      // A place behind the end is never reached.
      yield* stream({})
      assert.deepStrictEqual(yield* faults, { armed: 0, struck: 2 })
    })
  )
})

layer(simulated({ products: 20 }), { excludeTestServices: true })("The rate limit", (it) => {
  it.effect("allows a hundred requests a minute", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 100; i++) assert.strictEqual((yield* query({ no: 0, size: 10 })).status, 200)
      const { status, body } = yield* query({ no: 0, size: 10 })
      assert.deepStrictEqual([status, (body.error as Json).code], [429, "too_many_requests"])
    })
  )
})

describe("A file", () => {
  it.live("is served as a stream, plain or gzip, wrapped or not", () =>
    Effect.gen(function* () {
      const dir = mkdtempSync(join(tmpdir(), "medipim-file-"))
      const plain = Array.from({ length: 70 }, (_, i) => `{"id":"F${i}","name":"ä"}`)
      const wrapped = plain.map((line, i) => `{"meta":{"total":9,"index":${i}},"result":${line}}`)
      writeFileSync(join(dir, "plain.ndjson"), plain.join("\n"))
      writeFileSync(join(dir, "wrapped.ndjson.gz"), gzipSync(`${wrapped.join("\n")}\n`))
      for (const file of ["plain.ndjson", "wrapped.ndjson.gz"]) {
        const { results } = yield* stream({}).pipe(
          Effect.provide(simulated({ file: join(dir, file) }), { local: true })
        )
        assert.deepStrictEqual(
          results.map(({ meta, result }) => [meta.total, meta.index, result.id]),
          plain.map((_, i) => [70, i, `F${i}`])
        )
      }
      rmSync(dir, { recursive: true })
    })
  )
})
