import { getEventListeners } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { createClient } from "@medipim/http-api/Client"
import { anyService, aRun, json, runId } from "./AnyService.ts"
import { adminKey } from "./TestStack.ts"

const { told, address } = anyService()
const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length

describe("waitFor of the client", () => {
  it("keeps no listener of a poll, and ends with the reason of an abort", async () => {
    told.answer = json(aRun)
    const before = told.asked
    const controller = new AbortController()
    await using client = createClient({ baseUrl: address(), adminKey })
    const waiting = client.waitFor(runId, { signal: controller.signal })
    const counts = new Set<number>()
    while (told.asked - before < 3) {
      counts.add(listeners(controller.signal))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.isAtMost(Math.max(...counts), 1)
    const reason = new Error("the caller has seen enough")
    controller.abort(reason)
    assert.strictEqual(await waiting.catch((error: unknown) => error), reason)
    assert.strictEqual(listeners(controller.signal), 0)
  })

  it("ends with the run when it has ended", async () => {
    told.answer = json({ ...aRun, status: "succeeded" })
    await using client = createClient({ baseUrl: address(), adminKey })
    assert.strictEqual((await client.waitFor(runId)).status, "succeeded")
  })
})
