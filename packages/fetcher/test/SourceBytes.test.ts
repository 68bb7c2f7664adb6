import { brotliCompressSync, gunzipSync, gzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { longestLine } from "@medipim/domain/LineSplitter"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { memoryOf } from "@medipim/local/Memory"
import { Duration, Effect, Stream } from "effect"
import { type Answer, download, downloads, line, lines, RawSource, sends } from "./RawSource.ts"

const total = 40
const plain = lines(total).map((one) => `${one}\n`)
const bom = "\ufeff"

/** The lines of all parts, as they are stored, joined where a part ends within one. */
const storedLines = (parts: ReadonlyArray<{ readonly key: string }>) =>
  Effect.gen(function* () {
    const store = yield* SnapshotStore
    const pieces = yield* Effect.forEach(parts, ({ key }) =>
      Effect.map(Stream.runCollect(store.get(key)), (bytes) => gunzipSync(Buffer.concat([...bytes])))
    )
    return Buffer.concat(pieces).toString().split("\n").slice(0, -1)
  })

/** NDJSON as it is in the wild: none of it is a record, and none of it a fault. */
const forms: Readonly<Record<string, string>> = {
  "a blank line between two lines": plain.join("").replace("\n", "\n\n"),
  "blank lines everywhere": `\n\n${plain.join("\n \n\t\n")}\n\n`,
  "a blank line before the first": `\n${plain.join("")}`,
  "lines that end with CRLF": plain.join("").replaceAll("\n", "\r\n"),
  "blank lines that end with CRLF": plain.join("").replaceAll("\n", "\r\n\r\n"),
  "a byte order mark": `${bom}${plain.join("")}`,
  "a byte order mark before a blank line": `${bom}\r\n${plain.join("")}`,
  "blanks around lines": plain.map((one) => `  \t${one.trim()} \t\n`).join(""),
  "blanks behind the last newline": `${plain.join("")}  \r\t `
}

/** Sends this over and over, as fast as it is taken, until the other side goes away. */
const endless =
  (head: string, repeated: Buffer, status = 200): Answer =>
  (response) => {
    response.writeHead(status).write(head)
    const go = () => {
      while (!response.destroyed && response.write(repeated)) {
        // As long as there is room.
      }
    }
    response.on("drain", go)
    go()
  }

/** Calls this after so many milliseconds, again and again, until the other side goes away. */
const trickle =
  (every: number, piece: (n: number) => string): Answer =>
  (response) => {
    let n = 0
    response.writeHead(200)
    const timer = setInterval(() => response.write(piece(n++)), every)
    response.on("close", () => clearInterval(timer))
  }

layer(downloads(), { excludeTestServices: true, timeout: "60 seconds" })("The bytes of the source", (it) => {
  for (const [what, body] of Object.entries(forms)) {
    it.effect(`may hold ${what}`, () =>
      Effect.gen(function* () {
        const { answers, seen } = yield* RawSource
        answers(sends(body))
        const manifest = yield* download
        assert.deepInclude(manifest, { records: total, total, complete: true })
        assert.deepStrictEqual(yield* storedLines(manifest.parts), lines(total))
        assert.strictEqual(seen().length, 1)
      })
    )
  }

  it.effect("may end in words instead of the last record, which are not stored for one", () =>
    Effect.gen(function* () {
      const { answers, seen } = yield* RawSource
      answers(
        sends(`${plain.slice(0, -1).join("")}Fatal error: Allowed memory size exhausted\n`),
        sends(plain.join(""))
      )
      const manifest = yield* download
      assert.deepInclude(manifest, { records: total, total, complete: true })
      assert.deepStrictEqual(yield* storedLines(manifest.parts), lines(total))
      assert.isAbove(seen().length, 1)
    })
  )

  it.effect("still have to be whole: a blank line takes no place, and a lost line leaves a gap", () =>
    Effect.gen(function* () {
      const { answers } = yield* RawSource
      answers(sends(plain.filter((_, n) => n !== 7).join("\n")))
      assert.deepInclude(yield* Effect.flip(download), { _tag: "StreamBroken", fault: "gap" })
    })
  )

  it.effect("may be blank lines without end, in little memory, and then the source is too slow", () =>
    Effect.gen(function* () {
      const { answers } = yield* RawSource
      answers(endless(plain[0] ?? "", Buffer.alloc(64 * 1024, "\n")))
      const { result, megabytes } = yield* memoryOf(Effect.flip(download))
      assert.deepInclude(result, { _tag: "StreamBroken", fault: "too-slow", received: 1, expected: total })
      assert.match(result.message, /MIN_RECORD_RATE/)
      assert.isBelow(megabytes, 100)
    }).pipe(Effect.provide(downloads({ rate: { minRecordRate: 10, recordRateWindow: Duration.millis(400) } })))
  )

  it.effect("are broken when they bring too few records, whatever else they bring", () =>
    Effect.gen(function* () {
      const { answers, seen } = yield* RawSource
      // One a tenth of a second: it would take a day. Without a time of creation each request begins at the beginning.
      const slowLine = (index: number) => `{"meta":{"total":1000000,"index":${index}},"result":{"id":"M${index}"}}\n`
      for (const piece of [() => " ", slowLine]) {
        answers(trickle(100, piece))
        const error = yield* Effect.flip(download)
        assert.deepInclude(error, { _tag: "StreamBroken", fault: "too-slow" })
        assert.strictEqual(seen().length, 2)
      }
    }).pipe(Effect.provide(downloads({ rate: { minRecordRate: 20, recordRateWindow: Duration.millis(500) } })))
  )

  it.effect("may be slow as long as they keep the rate", () =>
    Effect.gen(function* () {
      const { answers } = yield* RawSource
      answers((response) => {
        let n = 0
        response.writeHead(200)
        const timer = setInterval(() => {
          response.write(plain[n++])
          if (n === total) response.end()
        }, 25)
        response.on("close", () => clearInterval(timer))
      })
      assert.strictEqual((yield* download).records, total)
    }).pipe(Effect.provide(downloads({ rate: { minRecordRate: 10, recordRateWindow: Duration.millis(300) } })))
  )

  it.effect("are asked for compressed, and opened as they come", () =>
    Effect.gen(function* () {
      const { answers, seen } = yield* RawSource
      answers(sends(gzipSync(plain.join("")), { "content-encoding": "gzip" }))
      const manifest = yield* download
      assert.deepStrictEqual(yield* storedLines(manifest.parts), lines(total))
      assert.strictEqual(seen()[0]?.["accept-encoding"], "gzip")
      answers(sends(gzipSync(plain.join("")).subarray(0, -20), { "content-encoding": "gzip" }), sends(plain.join("")))
      assert.strictEqual((yield* download).records, total)
      answers(sends(plain.join(""), { "content-encoding": "identity" }))
      assert.strictEqual((yield* download).records, total)
    })
  )

  it.effect("are refused in a coding that was not asked for, by its name", () =>
    Effect.gen(function* () {
      const { answers, seen } = yield* RawSource
      answers(sends(brotliCompressSync(plain.join("")), { "content-encoding": "br" }))
      const error = yield* Effect.flip(download)
      assert.deepInclude(error, { _tag: "MediPimError", retryable: false })
      assert.match(error.message, /coded as "br"/)
      assert.strictEqual(seen().length, 1)
    })
  )
})

layer(downloads({ partBytes: 1_000_000 }), { excludeTestServices: true, timeout: "120 seconds" })(
  "A line that is longer than the limit",
  (it) => {
    const long = (n: number, bytes: number) => line(n, 61, { padding: "x".repeat(bytes) })

    it.effect("is one record among the others, over several parts, and in little memory", () =>
      Effect.gen(function* () {
        const { answers } = yield* RawSource
        const all = Array.from({ length: 61 }, (_, n) => (n === 30 ? long(n, longestLine + 5_000_000) : line(n, 61)))
        answers(sends(`${all.join("\n")}\n`))
        const { result: manifest, megabytes } = yield* memoryOf(download)
        assert.isBelow(megabytes, 200)
        assert.deepInclude(manifest, { records: 61, total: 61, complete: true })
        assert.isAbove(manifest.parts.length, 4)
        const [first, ...others] = manifest.parts
        assert.isUndefined(first?.continuedBytes)
        const continued = others.reduce((sum, { continuedBytes = 0 }) => sum + continuedBytes, 0)
        assert.isAbove(continued, 3_000_000)
        assert.strictEqual(
          manifest.parts.reduce((sum, { records }) => sum + records, 0),
          61
        )
        const stored = yield* storedLines(manifest.parts)
        assert.isTrue(stored.every((text, n) => text === all[n]))
      })
    )

    it.effect("breaks the stream when it has no end at 256 MB", () =>
      Effect.gen(function* () {
        const { answers } = yield* RawSource
        answers(
          endless(`${line(0, 9)}\n{"meta":{"total":9,"index":1},"result":{"id":"`, Buffer.alloc(1024 * 1024, "x"))
        )
        const { result, megabytes } = yield* memoryOf(Effect.flip(download))
        assert.deepInclude(result, { _tag: "StreamBroken", fault: "line-too-long" })
        assert.isBelow(megabytes, 200)
      })
    )
  }
)

layer(downloads(), { excludeTestServices: true, timeout: "60 seconds" })("An answer that is no stream", (it) => {
  const cases: ReadonlyArray<readonly [what: string, answer: Answer, told: RegExp]> = [
    [
      "where it moved to",
      sends("", { location: "https://api.example/v5/products" }, 301),
      /answered 301.*moved to https:\/\/api\.example\/v5\/products \(see MEDIPIM_API_URL\)/
    ],
    [
      "which fields it refuses",
      sends(
        JSON.stringify({
          error: {
            code: "validation",
            message: "Invalid\nrequest",
            violations: [
              { path: "filter.status", message: "unknown" },
              { field: "sorting", message: "missing" }
            ]
          }
        }),
        { "content-type": "application/json" },
        422
      ),
      /answered 422 validation: Invalid request; filter\.status: unknown; sorting: missing$/
    ],
    [
      "the title of a firewall's page",
      sends(
        "<html><head><title>Access denied | Example Guard</title></head><body><h1>Ray 123</h1></body></html>",
        {},
        403
      ),
      /answered 403: Access denied \| Example Guard$/
    ],
    ["no control characters", sends("\u001b[2J\u202egone\r\nforged", {}, 400), /answered 400: \[2J gone forged$/],
    [
      "the text of a page in another coding",
      sends(gzipSync("plain words"), { "content-encoding": "gzip" }, 400),
      /: plain words$/
    ]
  ]
  for (const [what, answer, told] of cases) {
    it.effect(`tells ${what}`, () =>
      Effect.gen(function* () {
        const { answers, seen } = yield* RawSource
        answers(answer)
        const error = yield* Effect.flip(download)
        assert.strictEqual(error._tag, "MediPimError")
        assert.match(error.message, told)
        assert.strictEqual(seen().length, 1)
      })
    )
  }

  it.effect("is read for a few kilobytes, however long it is", () =>
    Effect.gen(function* () {
      const { answers } = yield* RawSource
      answers(endless("a very long story ", Buffer.alloc(1024 * 1024, "blah "), 400))
      const { result, megabytes } = yield* memoryOf(Effect.flip(download))
      assert.match(result.message, /answered 400: a very long story/)
      assert.isBelow(megabytes, 60)
    })
  )
})

layer(downloads(), { excludeTestServices: true })("A request to the source", (it) => {
  it.effect("says who asks, and nothing of our traces", () =>
    Effect.gen(function* () {
      const { answers, seen } = yield* RawSource
      // As a source that refuses who does not say who it is.
      answers((response, { headers }) =>
        sends(
          headers["user-agent"] === undefined ? "who are you" : plain.join(""),
          {},
          headers["user-agent"] ? 200 : 403
        )(response, undefined as never)
      )
      assert.strictEqual((yield* download).records, total)
      const [headers = {}] = seen()
      assert.strictEqual(headers["user-agent"], "MediPim-AU-Sync/0 (someone@example.org)")
      assert.notProperty(headers, "traceparent")
      assert.notProperty(headers, "b3")
    })
  )
})
