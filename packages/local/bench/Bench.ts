/**
 * The budgets, measured: each figure beside its yardstick, in one run on one machine. Needs curl and gzip.
 * `npm run bench`, or `npm run bench -- 1000000` for another number of products. `LOCAL_DATABASE_URL` takes another empty
 * database than the embedded one, for example of a Postgres that has lz4; its server must run here and read files.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { createClient } from "@medipim/http-api/Client"
import * as Postgres from "@medipim/platform/database/Postgres"
import { Console, Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { EmbeddedPostgres } from "../src/EmbeddedPostgres.ts"
import { freePorts } from "../src/Ports.ts"
import { startPrograms } from "../src/Stack.ts"

const products = Number(process.argv[2] ?? 108_000)
const adminKey = "bench-key-of-forty-characters-0123456789"

const dir = fs.mkdtempSync(join(tmpdir(), "medipim-bench-"))
fs.chmodSync(dir, 0o755)
fs.mkdirSync(join(dir, "logs"))

const seconds = (run: () => void): number => {
  const started = performance.now()
  run()
  return (performance.now() - started) / 1000
}

const shell = (script: string): void => {
  const { status, stderr } = spawnSync("bash", ["-o", "pipefail", "-c", script], { encoding: "utf8" })
  if (status !== 0) throw new Error(`${script}: ${stderr}`)
}

/** Peak memory of the program below the tether, in MB. */
const peakOf = (tether: number): number => {
  const children = fs.readFileSync(`/proc/${tether}/task/${tether}/children`, "utf8").trim().split(" ")
  const peaks = children.map((pid) =>
    Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
  )
  return Math.max(...peaks) / 1024
}

const parseAll = `
const { createReadStream } = require("node:fs"), { createInterface } = require("node:readline")
;(async () => { let n = 0
for await (const line of createInterface({ input: createReadStream(process.argv[1], { highWaterMark: 1 << 20 }) })) { JSON.parse(line); n++ }
if (n !== ${products}) throw new Error("lines: " + n) })()`

const report = (rows: ReadonlyArray<readonly [string, number, string, number | undefined, number]>): string =>
  rows
    .map(([what, figure, unit, yardstick, budget]) => {
      const ratio = yardstick === undefined ? figure / budget : figure / yardstick
      const limit = yardstick === undefined ? `${budget} ${unit}` : `${budget} x ${yardstick.toFixed(1)} ${unit}`
      const verdict = (yardstick === undefined ? ratio <= 1 : ratio <= budget) ? "ok  " : "OVER"
      return `${verdict}  ${what.padEnd(34)} ${figure.toFixed(1).padStart(8)} ${unit.padEnd(2)}  ${ratio.toFixed(2).padStart(5)}  of ${limit}`
    })
    .join("\n")

const bench = Effect.gen(function* () {
  const on = yield* freePorts
  const given = process.env.LOCAL_DATABASE_URL
  const url =
    given === undefined
      ? (yield* EmbeddedPostgres.make({ dir: join(dir, "postgres"), port: on.postgres.port, durable: true })).url
      : Redacted.make(given)
  const databaseUrl = Redacted.value(url)
  const snapshotDir = join(dir, "snapshots")
  const setup = {
    form: "dist",
    on,
    products,
    databaseUrl,
    adminKey,
    store: { SNAPSHOT_DIR: snapshotDir },
    logDir: join(dir, "logs")
  } as const
  const { addresses, pids } = yield* startPrograms(setup)
  const client = createClient({ baseUrl: addresses.ORCHESTRATOR_URL, adminKey })
  yield* Effect.addFinalizer(() => Effect.promise(client.close))
  const database = yield* Layer.build(Postgres.layer({ databaseUrl: url, databaseConnections: 2 }, "bench"))
  const sql = Context.get(database, SqlClient)

  const sync = (options: SyncOptions) =>
    Effect.promise(async () => {
      const started = performance.now()
      const { runId } = await client.sync(options)
      let run = await client.run(runId)
      for await (const event of client.events(runId)) if (event._tag === "Finished") run = event.run
      if (run.status !== "succeeded") throw new Error(run.failure?.message)
      return { run, took: (performance.now() - started) / 1000 }
    })

  const stream = `${addresses.SIMULATOR_URL}/v4/products/stream`
  const body = '{"filter":{"status":["active","inactive","replaced"]},"sorting":{"createdAt":"ASC"}}'
  const curl = `curl -sf -u 1:simulator-secret-of-no-value -d '${body}' ${stream}`

  yield* Console.log(`${products} products: yardstick of the fetch`)
  const curlTook = seconds(() => shell(`${curl} | gzip -1 > ${dir}/stream.gz`))
  yield* Console.log("fetch")
  const fetched = yield* sync({ mode: "fetch-only" })
  yield* Console.log("first load")
  const loaded = yield* sync({ mode: "maintain-only" })

  yield* Console.log("yardsticks of the load")
  const parts = `${snapshotDir}/snapshots/${fetched.run.snapshotId}`
  // One control character each that no line holds: the line is the one column.
  shell(`cat ${parts}/*.gz | gunzip | sed -E 's/^\\{"meta":\\{[^}]*\\},"result"://; s/\\}$//' > ${dir}/lines.json`)
  yield* sql`CREATE UNLOGGED TABLE yardstick (line jsonb)`
  const copy = `COPY yardstick FROM '${dir}/lines.json' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')`
  const started = performance.now()
  yield* sql.unsafe(copy)
  const copyTook = (performance.now() - started) / 1000
  const parseTook = seconds(() => {
    const { status, stderr } = spawnSync(process.execPath, ["-e", parseAll, `${dir}/lines.json`], { encoding: "utf8" })
    if (status !== 0) throw new Error(stderr)
  })
  yield* sql`DROP TABLE yardstick`

  yield* Console.log("unchanged load")
  yield* sync({ mode: "fetch-only" })
  const xmins = sql<{ readonly x: string }>`SELECT DISTINCT xmin::text AS x FROM public.products`
  const before = yield* xmins
  const unchanged = yield* sync({ mode: "maintain-only" })
  const rewritten = JSON.stringify(yield* xmins) === JSON.stringify(before) ? 0 : 1

  const memory = (name: string) => peakOf(pids[name] ?? 0)
  yield* Console.log(
    report([
      ["fetch / curl | gzip -1", fetched.took, "s", curlTook, 1.5],
      ["first load / COPY of the lines", loaded.took, "s", copyTook, 1.0],
      ["unchanged load / JSON.parse", unchanged.took, "s", parseTook, 2.0],
      ["fetcher, peak memory", memory("fetcher"), "MB", undefined, 256],
      ["maintainer, peak memory", memory("maintainer"), "MB", undefined, 512],
      ["orchestrator, peak memory", memory("orchestrator"), "MB", undefined, 256]
    ])
  )
  yield* Console.log(
    `${rewritten === 0 ? "ok  " : "OVER"}  the unchanged load ${rewritten === 0 ? "wrote no row" : "wrote rows"}`
  )
})

NodeRuntime.runMain(
  bench.pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => fs.rmSync(dir, { recursive: true, force: true }))))
)
