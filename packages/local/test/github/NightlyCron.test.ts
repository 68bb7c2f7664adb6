import { assert, describe, it } from "@effect/vitest"
import { isDue } from "../../../../.github/scripts/night.ts"
import { workflowOf } from "./WorkflowFiles.ts"

const hour = 60 * 60 * 1000
const day = 24 * hour
const inSydney = new Intl.DateTimeFormat("sv-SE", {
  timeZone: "Australia/Sydney",
  dateStyle: "short",
  timeStyle: "short"
})

describe("The night of the sync", () => {
  const crons = (workflowOf("sync").on.schedule ?? []).map(({ cron }) => cron)
  /** Every start that GitHub makes in ten years, as local time in Sydney, of those that go on. */
  const nights = (lateBy: number): ReadonlyArray<string> => {
    const starts: Array<string> = []
    for (let midnight = Date.UTC(2026, 0, 1); midnight < Date.UTC(2036, 0, 1); midnight += day) {
      for (const cron of crons) {
        const at = midnight + Number(cron.split(" ")[1]) * hour
        if (isDue(cron, at + lateBy)) starts.push(inSydney.format(at))
      }
    }
    return starts
  }

  it("comes once a day for ten years, at 2 AM, and at 3 AM when clocks go forward", () => {
    const starts = nights(0)
    const days = starts.map((start) => start.slice(0, 10))
    assert.strictEqual(new Set(days).size, days.length, "no day twice")
    assert.strictEqual(days.length, 3652, "no day left out")
    for (const start of starts) {
      const isFirstSundayOfOctober = /-10-0[1-7] /.test(start) && new Date(start.slice(0, 10)).getUTCDay() === 0
      assert.strictEqual(start.slice(11), isFirstSundayOfOctober ? "03:00" : "02:00", start)
    }
  })

  it("is the same one when GitHub starts late", () => {
    for (const late of [60_000, hour, 6 * hour, 23 * hour]) assert.deepEqual(nights(late), nights(0))
  })
})
