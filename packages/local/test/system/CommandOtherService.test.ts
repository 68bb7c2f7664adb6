import { assert, describe, it } from "vitest"
import { anyService, json } from "./AnyService.ts"

const { told, address, medipim } = anyService()

describe("A service that is another one", () => {
  const fetcherStatus = { isRunning: false, currentJob: null, progress: null, uptimeSeconds: 5 }
  const page = (status: number) => ({ status, type: "text/html", body: "<!doctype html><title>Hello</title>" })
  const run = "20200101T000000Z-00000000"
  it.each([
    ["status", "the fetcher", json(fetcherStatus)],
    ["sync", "the fetcher", json({ _tag: "RouteNotFound" }, 404)],
    ["sync", "a JSON API", json({ ok: true }, 202)],
    ["runs", "a JSON API", json([])],
    ["status", "a page", page(200)],
    ["status", "a page that asks for a login", page(401)],
    ["sync", "a page that moved", page(302)],
    [`watch ${run}`, "a page", page(200)],
    [`watch ${run}`, "a page that is not there", page(404)],
    [`watch ${run}`, "a stream of something else", { ...json({ hello: "world" }), type: "application/x-ndjson" }],
    [`cancel ${run}`, "a page that is not there", page(404)]
  ])("is told by %s: %s", async (line, _, given) => {
    told.answer = given
    const address_ = address().replace("http://", "http://someone:a-secret@")
    const { code, out, err } = await medipim(line, { ORCHESTRATOR_URL: `${address_}?token=another-secret` })
    assert.strictEqual(code, 4, err)
    assert.include(err, `ORCHESTRATOR_URL (${address()}) is not the orchestrator of this version`)
    assert.notInclude(out + err, "secret")
  })

  it.each(["rejected", "replay"])("is told by %s, which asks the maintainer", async (line) => {
    told.answer = page(200)
    const { code, err } = await medipim(line)
    assert.strictEqual(code, 4, err)
    assert.include(err, `MAINTAINER_URL (${address()}) is not the maintainer of this version`)
  })

  it("is not what a proxy says while the service starts", async () => {
    told.answer = page(502)
    const { code, err } = await medipim("status")
    assert.strictEqual(code, 4, err)
    assert.include(err, "The orchestrator cannot be reached at")
  })

  it("is not blamed for wrong options", async () => {
    told.asked = 0
    for (const line of [
      "runs --limit 501",
      "sync --mode fetch-only --dry-run",
      "sync --mode nothing",
      "rejected --size 501"
    ]) {
      const { code, err } = await medipim(line)
      assert.strictEqual(code, 2, `${line}: ${err}`)
      assert.notInclude(err, "_URL")
    }
    assert.strictEqual(told.asked, 0)
  })
})
