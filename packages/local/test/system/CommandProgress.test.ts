import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { progressLine } from "@medipim/cli/Text"
import { noProgress, type Run } from "@medipim/domain/Run"
import { assert, describe, it } from "vitest"
import { anyService, aRun, runId } from "./AnyService.ts"
import { commandLine } from "./ProgramOutput.ts"

const { told, environment, medipim } = anyService()

/** What a terminal of so many columns shows after this. */
const screenOf = (text: string, columns: number): ReadonlyArray<string> => {
  const lines = [""]
  let at = 0
  for (const [piece] of text.matchAll(/\u001b\[2K|./gsu)) {
    if (piece === "\r") at = 0
    else if (piece === "\n") lines.push("")
    else if (piece === "\u001b[2K") lines[lines.length - 1] = ""
    else {
      if (at === columns) {
        lines.push("")
        at = 0
      }
      lines[lines.length - 1] = `${(lines.at(-1) ?? "").slice(0, at).padEnd(at)}${piece}`
      at++
    }
  }
  return lines
}

describe("The progress of a run", () => {
  const phases = [
    aRun,
    { ...aRun, phase: "idle", progress: noProgress },
    { ...aRun, phase: "publishing", progress: { ...aRun.progress, totalRecords: 108_000, percent: 90 } }
  ] as const
  const widths = Array.from({ length: 181 }, (_, i) => 20 + i)

  it("fits every terminal, with the ^C that one writes behind it, and says the percent in each", () => {
    for (const run of phases) {
      for (const columns of widths) {
        const line = progressLine(run, 12_345, columns)
        assert.isAtMost(line.length, columns - 3, line)
        assert.include(line, `${run.progress.percent} %`)
      }
    }
  })

  it("keeps the counts longest, then the time that is left, then the bar", () => {
    const at = (columns: number) => progressLine(aRun, 12_345, columns)
    assert.strictEqual(at(30), "fetching    45 %")
    assert.strictEqual(at(40), "fetching    45 %  98,600 of 108,000")
    assert.strictEqual(at(60), "fetching    45 %  98,600 of 108,000, 12 min 34 s left")
    assert.match(at(80), /^fetching {3}█+░+ {2}45 % {2}98,600 of 108,000, 12 min 34 s left$/)
    assert.match(at(200), /500 MB, 12,345\/s, 12 min 34 s left$/)
  })

  it("is followed on when its stream breaks, between two lines, in one or behind a proxy", async () => {
    const event = (tag: string, run: Run) => `${JSON.stringify({ _tag: tag, run })}\n`
    const progress = event("Progress", aRun)
    const pieces = [progress, `${progress}{"_tag":"Pro`, undefined, event("Finished", { ...aRun, status: "succeeded" })]
    let calls = 0
    const breaking = createServer((_, response) => {
      const piece = pieces[calls++]
      const type = piece === undefined ? "text/html" : "application/x-ndjson"
      response.writeHead(piece === undefined ? 502 : 200, { "content-type": type }).end(piece)
    })
    await new Promise<void>((resolve) => breaking.listen(0, resolve))
    const { code, out, err } = await medipim(`watch ${runId}`, {
      ORCHESTRATOR_URL: `http://localhost:${(breaking.address() as AddressInfo).port}`
    })
    breaking.close()
    assert.deepStrictEqual([code, calls], [0, 4], err)
    assert.include(out, `Sync ${runId} succeeded`)
  }, 30_000)

  it.skipIf(!existsSync("/usr/bin/script"))(
    "leaves nothing of its line behind when it is interrupted",
    async () => {
      told.answer = { status: 200, type: "application/x-ndjson", body: "" }
      told.stream = `${JSON.stringify({ _tag: "Progress", run: aRun })}\n`
      const command = [process.execPath, ...commandLine, "watch", runId].map((word) => `"${word}"`).join(" ")
      const child = spawn("/usr/bin/script", ["-qec", `stty cols 40; ${command}`, "/dev/null"], { env: environment() })
      let shown = ""
      child.stdout.on("data", (piece: Buffer) => {
        const before = shown.split("98,600").length
        shown += piece
        if (before < 4 && shown.split("98,600").length >= 4) child.stdin.write("\u0003")
      })
      const code = await new Promise((resolve) => child.once("close", resolve))
      told.stream = ""
      assert.strictEqual(code, 130)
      assert.include(shown, "^C")
      const lines = screenOf(shown, 40)
      assert.match(lines.join(""), /^Sync 20200101T000000Z-00000000 continues\. .*stops it\.$/)
      assert.strictEqual(lines.at(-1), "", "the prompt begins on a line of its own")
    },
    20_000
  )
})
