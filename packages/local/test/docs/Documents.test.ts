import { existsSync, readdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { OrchestratorClient } from "@medipim/http-api/Clients"
import { Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { root } from "../../src/Workspace.ts"
import { adminKey, ended, sync, TestStack } from "../system/TestStack.ts"
import { anchorsOf, filesNamedIn, linksOf, type Piece, piecesOf, textOf } from "./DocumentPieces.ts"
import { DocumentShell } from "./DocumentShell.ts"

const operations = "docs/operations.md"
const recovery = "docs/disaster-recovery.md"
const written = [operations, "docs/troubleshooting.md", recovery]
const inFolder = (folder: string) =>
  readdirSync(join(root, folder)).flatMap((name) => (name.endsWith(".md") ? [join(folder, name)] : []))

/** The TypeScript below a folder. */
const inSources = (folder: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === "node_modules" || entry.name === "dist" ? [] : inSources(path)
    return entry.name.endsWith(".ts") ? [path] : []
  })

describe.each([...inFolder("."), ...inFolder("docs"), ...inFolder("docs/decisions"), ...inFolder("docs/reference")])(
  "%s",
  (document) => {
    it("shows the command in the form whose answer can be piped, and which keeps no option back", () => {
      assert.notMatch(textOf(document), /npm run (?!-s medipim -- )[^`\n]*\bmedipim\b/)
    })

    it("links to what is there", () => {
      for (const link of linksOf(document)) {
        const [path = "", anchor] = link.split("#")
        const target = path === "" ? document : join(dirname(document), path)
        assert.isTrue(existsSync(join(root, target)), link)
        if (anchor !== undefined) assert.include(anchorsOf(target), anchor, link)
      }
    })
  }
)

it.each(written)("%s names files that are there", (document) => {
  for (const file of filesNamedIn(document)) assert.isTrue(existsSync(join(root, file)), file)
})

it("Comments cite documents and chapters that are there", () => {
  const cited = inSources("packages").flatMap((file) =>
    [...textOf(file).matchAll(/(?<![\w/.-])([\w/.-]+\.md)(?:#([\w-]+))?/g)].map(([, document = "", anchor]) => ({
      file,
      document,
      anchor
    }))
  )
  assert.isAbove(cited.length, 20)
  for (const { file, document, anchor } of cited) {
    const target = [document, join("docs", document)].find((path) => existsSync(join(root, path)))
    assert.isDefined(target, `${file} cites ${document}`)
    if (anchor !== undefined) assert.include(anchorsOf(target ?? ""), anchor, `${file} cites ${document}`)
  }
})

describe("The costs", () => {
  const page = textOf(operations)
  const priceOf = (letter: string): number =>
    Number(new RegExp(`^\\| ${letter} +\\|[^|]*\\| ([\\d.]+)`, "m").exec(page)?.[1])
  const rows = [...page.matchAll(/^\| (1|4|24) +\|(.*)\|$/gm)]

  it("are what the formula makes of the prices", () => {
    const [always, maintainer, f, m, gigabytes] = ["O, F", "M", "f", "m", "Z"].map(priceOf) as [
      number,
      number,
      number,
      number,
      number
    ]
    assert.lengthOf(rows, 3)
    for (const [, syncs, cells = ""] of rows) {
      const n = 30 * Number(syncs)
      const parts = [
        always,
        (n * f * always) / 720,
        (n * m * maintainer) / 720,
        2 * 0.3 * 0.15,
        n * gigabytes * 0.04
      ] as const
      const sum = parts.reduce((total, part) => total + part, 0)
      assert.deepEqual(
        cells.split("|").map((cell) => cell.replaceAll(/[* ]/g, "")),
        [...parts, sum].map((dollars) => dollars.toFixed(2))
      )
    }
  })
})

const of = (document: string, chapter: string) => piecesOf(document).filter(({ heading }) => heading === chapter)
const beginnings = [...of("README.md", "Use it"), ...of("docs/fly-deployment.md", "5. The first run")]
/** Chapters that are played as a whole, each against the damage that it is for. */
const chapters = {
  deleted: "Rows were deleted, or the whole table",
  changed: "Rows were changed by hand",
  back: "The source was wrong, and the table must go back to an earlier night"
}
/** All others: each command once, however often the documents show it. */
const pieces = [...beginnings, ...written.flatMap(piecesOf)].filter(
  ({ language, text, heading }, i, all) =>
    (language === "sh" || language === "sql") &&
    text !== "" &&
    !Object.values(chapters).includes(heading) &&
    all.findIndex((other) => other.text === text) === i
)

const statementsOf = ({ text }: Piece): ReadonlyArray<string> =>
  text.split(/;\s*(?:\n|$)/).filter((statement) => statement.trim() !== "")

/** Tries a piece as its reader would, and waits for the sync that it may have started. */
const play = Effect.fnUntraced(function* (piece: Piece) {
  const shell = yield* DocumentShell
  const client = yield* OrchestratorClient
  if (piece.language === "sql") {
    const sql = yield* SqlClient
    for (const statement of statementsOf(piece)) yield* sql.unsafe(statement)
    return
  }
  const { code, said } = yield* shell.run(piece.text)
  assert.strictEqual(code, 0, `${piece.place}\n${piece.text}\n${said}`)
  yield* client
    .status()
    .pipe(Effect.repeat({ until: ({ isRunning }) => !isRunning, schedule: Schedule.spaced("50 millis") }))
})

/** Plays a chapter; `snapshotId` is what its reader chose. */
const chapter = (heading: string, commands: number, snapshotId = "") => {
  const found = of(recovery, heading)
  assert.lengthOf(found, commands, heading)
  return Effect.forEach(found, (piece) => play({ ...piece, text: piece.text.replaceAll("SNAPSHOT_ID", snapshotId) }), {
    discard: true
  })
}

/** What readers see of the catalogue. */
const catalogue = Effect.gen(function* () {
  const sql = yield* SqlClient
  return yield* sql`SELECT id, name, raw FROM public.products WHERE removed_at IS NULL ORDER BY id`
})

const Stack = DocumentShell.layer.pipe(Layer.provideMerge(TestStack.layer(200)))

layer(Stack, { excludeTestServices: true, timeout: "120 seconds" })("The commands of the documents", (it) => {
  it.effect("have a catalogue to work on", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* sync()).status, "succeeded")
    })
  )

  it.effect.each(pieces)("$place", play)

  it.effect("start a sync from a machine of Fly, in each form that is shown", () =>
    Effect.gen(function* () {
      const shell = yield* DocumentShell
      const client = yield* OrchestratorClient
      const shown = piecesOf(operations).filter(({ text }) => /^flyctl (m run|machine update)/.test(text))
      assert.lengthOf(shown, 4)
      for (const { place, text } of shown) {
        yield* shell.run(text)
        const args = shell.flyctlCalls().at(-1)?.args ?? []
        const dashes = args.indexOf("--")
        const given = args[args.indexOf("--env") + 1] ?? ""
        // The secrets of the app are in the environment of the machine; --env goes before them.
        assert.oneOf(given.startsWith("ADMIN_KEY=") ? given : "", ["", `ADMIN_KEY=${adminKey}`], place)
        const command = dashes > 0 ? args.slice(dashes + 1) : ["sh", "-c", args[args.indexOf("--command") + 1] ?? ""]
        assert.deepEqual(command.slice(0, 2), ["sh", "-c"], place)
        const { said } = yield* shell.run('sh -c "$SCRIPT"', { SCRIPT: command[2] ?? "" })
        const { runId } = JSON.parse(said) as { readonly runId: string }
        assert.strictEqual((yield* ended(runId)).status, "succeeded", place)
        const [last] = (yield* client.runs({ query: { limit: 1 } })).runs
        assert.strictEqual(last?.runId, runId, place)
      }
    })
  )

  it.effect("ask a service from inside, over the private network", () =>
    Effect.gen(function* () {
      const shell = yield* DocumentShell
      const inside = piecesOf("docs/troubleshooting.md").find(({ text }) => text.startsWith("flyctl ssh console"))
      yield* shell.run(inside?.text ?? "")
      const { said } = yield* shell.run('sh -c "$SCRIPT"', { SCRIPT: shell.flyctlCalls().at(-1)?.args.at(-1) ?? "" })
      assert.strictEqual(said, "200\n")
    })
  )

  it.effect("count what the alerts look at", () =>
    Effect.gen(function* () {
      const { control, metricsPort } = yield* TestStack
      yield* control("POST /control/faults", { fault: "cut-mid-line", at: 100 })
      assert.strictEqual((yield* sync({ forceRefresh: true })).status, "succeeded")
      const told = yield* Effect.forEach([0, 1, 2], (i) =>
        Effect.promise(async () => (await fetch(`http://localhost:${metricsPort + i}/metrics`)).text())
      )
      const page = textOf(operations)
      const names = new Set([...page.matchAll(/\b(medipim|process)_\w+(?=[[{`])/g)].map(([name]) => name))
      assert.isAtLeast(names.size, 6)
      for (const name of names) assert.match(told.join("\n"), new RegExp(`^${name}[{ ]`, "m"))
    })
  )

  it.effect("bring back rows that were deleted", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const before = yield* catalogue
      yield* sql`DELETE FROM public.products WHERE id <> (SELECT min(id) FROM public.products)`
      yield* chapter(chapters.deleted, 2)
      assert.deepEqual(yield* catalogue, before)
    })
  )

  it.effect("put right what was changed by hand, which a sync alone would not", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const before = yield* catalogue
      yield* sql`UPDATE public.products SET name = 'damaged', raw = '{}' WHERE removed_at IS NULL`
      yield* sync()
      assert.notDeepEqual(yield* catalogue, before)
      yield* chapter(chapters.changed, 2)
      assert.deepEqual(yield* catalogue, before)
    })
  )

  it.effect("go back to an earlier night, which an older snapshot alone would not", () =>
    Effect.gen(function* () {
      const { control } = yield* TestStack
      const earlier = yield* sync({ forceRefresh: true })
      const before = yield* catalogue
      // Ids of snapshots tell their second: two of the same one have no order.
      yield* Effect.sleep("1 second")
      yield* control("POST /control/changes", { update: 30, add: 5, remove: 3, deactivate: 4 })
      yield* sync()
      const snapshotId = earlier.snapshotId ?? assert.fail("no snapshot")
      const alone = yield* sync({ mode: "maintain-only", snapshotId })
      assert.isAbove(alone.progress.stale, 0)
      assert.isAbove(alone.progress.errors.length, 0)
      assert.notDeepEqual(yield* catalogue, before)
      yield* chapter(chapters.back, 4, snapshotId)
      assert.deepEqual(yield* catalogue, before)

      // And the night after brings the source's state again.
      const after = yield* sync()
      assert.strictEqual(after.status, "succeeded")
      assert.isAtLeast(after.progress.updated, 30)
    })
  )
})
