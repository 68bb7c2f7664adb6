/**
 * A year of nightly syncs: what every table and the store take, night after night. The clocks of the database and of the
 * services are moved on by a day each night; every seventh night the source sends what is refused. Needs libfaketime
 * (`apt-get install faketime`). `npm run bench:year`, or `npm run bench:year -- 400` for another number of nights.
 */
import * as fs from "node:fs"
import { request as ask, createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { createClient } from "@medipim/http-api/Client"
import { Console, Effect, Redacted } from "effect"
import { EmbeddedPostgres } from "../src/EmbeddedPostgres.ts"
import { freePorts } from "../src/Ports.ts"
import { start } from "../src/Program.ts"
import { programsOf } from "../src/Stack.ts"
import { root } from "../src/Workspace.ts"

const nights = Number(process.argv[2] ?? 365)
const products = 400
/** A refused night each week, and a row of figures each month. */
const week = 7
const month = 30
const historyDays = 90
const day = 24 * 60 * 60 * 1000
const adminKey = "bench-key-of-forty-characters-0123456789"
/** At the end the database may take so much more than once all that is kept for a time was there. */
const allowed = 1.1

const library = ["x86_64", "aarch64"]
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => fs.existsSync(path))

const dir = fs.mkdtempSync(join(tmpdir(), "medipim-year-"))
fs.chmodSync(dir, 0o755)
fs.mkdirSync(join(dir, "logs"))
const databaseClock = join(dir, "database-clock")
const serviceClock = join(dir, "service-clock")

const setClocks = (night: number): void => {
  fs.writeFileSync(databaseClock, `+${night}d`)
  fs.writeFileSync(serviceClock, String(night * day))
}

/** Postgres inherits this; nothing else is started with our environment. */
const withMovedClock = (library: string): void => {
  Object.assign(process.env, {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: databaseClock,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1"
  })
}

/** Stands between the fetcher and the source; on a bad night no line has an id. */
const makeSpoiler = (target: string) =>
  new Promise<{ readonly url: string; readonly spoil: (on: boolean) => void; readonly close: () => void }>(
    (resolve) => {
      let isSpoilt = false
      const server = createServer((request, response) => {
        const upstream = ask(`${target}${request.url}`, { method: request.method ?? "GET", headers: request.headers })
        request.pipe(upstream)
        upstream.on("response", (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          if (!isSpoilt) return answer.pipe(response)
          const pieces: Array<Buffer> = []
          answer.on("data", (piece: Buffer) => pieces.push(piece))
          answer.on("end", () => {
            response.end(Buffer.concat(pieces).toString("utf8").replaceAll('"result":{"id":', '"result":{"no":'))
          })
        })
      })
      server.listen(0, "127.0.0.1", () =>
        resolve({
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          spoil: (on) => {
            isSpoilt = on
          },
          close: () => {
            server.close()
            server.closeAllConnections()
          }
        })
      )
    }
  )

const sizeOf = (path: string): number =>
  fs
    .readdirSync(path, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(join(entry.parentPath, entry.name)).size, 0)

const shown = [
  "public.products",
  "medipim.product_changes",
  "medipim.rejected_records",
  "medipim.sync_runs",
  "medipim.sync_chunks",
  "medipim.stage_products",
  "medipim.stage_batches",
  "medipim.cluster_messages",
  "medipim.cluster_replies",
  "database"
]
const columns = ["night", ...shown.map((name) => name.replace(/^\w+\./, "")), "snapshots"]
const kilobytes = (bytes: number): string => String(Math.round(bytes / 1024))
const row = (cells: ReadonlyArray<string>): string =>
  cells.map((cell, i) => cell.padStart(Math.max(7, columns[i]?.length ?? 0))).join("  ")

const year = Effect.gen(function* () {
  if (library === undefined) return yield* Effect.die("libfaketime is missing: apt-get install faketime")
  setClocks(0)
  withMovedClock(library)
  const { url } = yield* EmbeddedPostgres.make({ dir: join(dir, "data"), port: 0, durable: false })
  for (const name of ["LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"]) delete process.env[name]

  const on = yield* freePorts
  const spoiler = yield* Effect.acquireRelease(
    Effect.promise(() => makeSpoiler(`http://localhost:${on.simulator.port}`)),
    ({ close }) => Effect.sync(close)
  )
  const snapshots = join(dir, "snapshots")
  const programs = programsOf({
    form: "src",
    on,
    products,
    databaseUrl: Redacted.value(url),
    adminKey,
    store: { SNAPSHOT_DIR: snapshots },
    logDir: join(dir, "logs")
  })
  const env = {
    NODE_OPTIONS: `--import ${pathToFileURL(join(root, "packages/local/test/system/WrongClock.ts")).href}`,
    MEDIPIM_TEST_CLOCK: serviceClock,
    MEDIPIM_API_URL: `${spoiler.url}/v4/products/stream`,
    HISTORY_DAYS: String(historyDays),
    SIMULATOR_REQUESTS_PER_MINUTE: "1000000"
  }
  yield* Effect.forEach(programs, (program) =>
    start({ ...program, env: { ...program.env, ...env } }, join(dir, "logs"))
  )
  const client = createClient({ baseUrl: `http://localhost:${on.orchestrator.port}`, adminKey })
  /** Some products change, one goes and yesterday's comes back: rows of removed products are kept for good. */
  let gone: ReadonlyArray<string> = []
  const change = Effect.promise(async () => {
    const answer = await fetch(`http://localhost:${on.simulator.port}/control/changes`, {
      method: "POST",
      body: JSON.stringify({ update: 20, remove: 1, ids: { restore: gone } })
    })
    gone = ((await answer.json()) as { readonly removed: ReadonlyArray<string> }).removed
  })
  const sync = Effect.promise(async () => {
    const { runId } = await client.sync({ forceRefresh: true })
    while (true) {
      const run = await client.run(runId)
      if (run.status !== "running") return run
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })

  yield* Console.log(`${products} products, HISTORY_DAYS ${historyDays}, sizes in kB\n${row(columns)}`)
  const totals = new Map<number, number>()
  for (let night = 1; night <= nights; night++) {
    setClocks(night)
    const isBad = night % week === 0
    spoiler.spoil(isBad)
    yield* change
    const run = yield* sync
    const due = isBad ? "failed" : "succeeded"
    if (run.status !== due) return yield* Effect.die(`night ${night}: ${run.status}: ${run.failure?.message}`)
    // What is kept no longer goes after the run has ended.
    yield* Effect.sleep("300 millis")
    if (night % month !== 0 && night !== 1 && night !== nights) continue
    const { sizes = {} } = yield* Effect.promise(() => client.status())
    totals.set(night, sizes.database ?? 0)
    const figures = shown.map((name) => kilobytes(sizes[name] ?? 0))
    yield* Console.log(row([String(night), ...figures, kilobytes(sizeOf(snapshots))]))
  }

  const full = Math.ceil((historyDays + month) / month) * month
  const [then, now] = [totals.get(full), totals.get(nights)]
  if (then === undefined || now === undefined) return
  const ratio = now / then
  yield* Console.log(
    `the database at the end: ${ratio.toFixed(3)} of what it was in night ${full}, ${allowed} is allowed`
  )
  if (ratio > allowed) process.exitCode = 1
}).pipe(Effect.ensuring(Effect.sync(() => fs.rmSync(dir, { recursive: true, force: true }))))

NodeRuntime.runMain(Effect.scoped(year))
