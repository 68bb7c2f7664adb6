import { spawnSync } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import * as fs from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Context, Data, Effect, Layer, Redacted, Schedule } from "effect"
import { type Account, type Binaries, findBinaries } from "./PostgresBinaries.ts"
import { type Tethered, tether } from "./Tether.ts"

export class PostgresFailed extends Data.TaggedError("PostgresFailed")<{ readonly message: string }> {}

export interface Options {
  /** Folder of the data; it is made when missing and kept. */
  readonly dir: string
  /** 0 finds a free one. */
  readonly port: number
  /** False: faster, and a crash of the machine may lose data. For tests. */
  readonly durable: boolean
}

const own = (path: string, { uid, gid }: Account): void => {
  if (uid !== undefined && gid !== undefined) fs.chownSync(path, uid, gid)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer().once("error", () => resolve(false))
    // All addresses of the kernel, which may have no IPv6.
    probe.listen(port, () => probe.close(() => resolve(true)))
  })

/** A port that no program held a moment ago, below those that outgoing connections take for themselves. */
export const freePort = async (): Promise<number> => {
  while (true) {
    const port = randomInt(15_000, 30_000)
    if (await isFree(port)) return port
  }
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    const end = (up: boolean) => {
      socket.destroy()
      resolve(up)
    }
    socket.once("connect", () => end(true)).once("error", () => end(false))
  })

/** What the server says of itself in the line that `pg_ctl --wait` reads: a port that answers may still be starting. */
const isReady = (dir: string): boolean => {
  const file = join(dir, "postmaster.pid")
  return fs.existsSync(file) && fs.readFileSync(file, "utf8").split("\n")[7]?.trim() === "ready"
}

const passwordOf = (dir: string): string => fs.readFileSync(join(dir, "password"), "utf8").trim()

/** Makes the data folder beside its place and renames it: an interrupted start leaves nothing half done. */
export const initialise = ({ dir, durable }: Pick<Options, "dir" | "durable">, { initdb, account }: Binaries): void => {
  if (fs.existsSync(join(dir, "PG_VERSION"))) return
  const fresh = `${dir}.new`
  fs.rmSync(fresh, { recursive: true, force: true })
  fs.mkdirSync(fresh, { recursive: true, mode: 0o700 })
  own(fresh, account)
  const password = randomBytes(24).toString("hex")
  const file = join(tmpdir(), `medipim-${randomBytes(6).toString("hex")}`)
  fs.writeFileSync(file, password, { mode: 0o600 })
  own(file, account)
  const sync = durable ? [] : ["--no-sync"]
  const made = spawnSync(
    initdb,
    ["-D", fresh, "-U", "postgres", "-A", "scram-sha-256", `--pwfile=${file}`, "-E", "UTF8", "--locale=C", ...sync],
    { ...account, cwd: "/", encoding: "utf8" }
  )
  fs.rmSync(file, { force: true })
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`)
  fs.writeFileSync(join(fresh, "password"), password, { mode: 0o600 })
  own(join(fresh, "password"), account)
  fs.rmSync(dir, { recursive: true, force: true })
  fs.renameSync(fresh, dir)
}

const settings = (options: Options, port: number): ReadonlyArray<string> =>
  Object.entries({
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    shared_buffers: "128MB",
    max_wal_size: "2GB",
    ...(options.durable ? {} : { fsync: "off", full_page_writes: "off" })
  }).flatMap(([name, value]) => ["-c", `${name}=${value}`])

/** The server of a supervisor that was killed ends on its own within moments; wait for it. */
const previousOwnerGone = async (dir: string): Promise<void> => {
  const file = join(dir, "postmaster.pid")
  for (let i = 0; i < 100 && fs.existsSync(file); i++) {
    const pid = Number(fs.readFileSync(file, "utf8").split("\n")[0])
    if (!isAlive(pid)) return
    if (i === 0) process.kill(pid, "SIGINT")
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

interface Started {
  readonly url: Redacted.Redacted
  readonly port: number
  readonly server: Tethered
}

const start = async (options: Options): Promise<Started> => {
  const binaries = await findBinaries()
  fs.mkdirSync(join(options.dir, ".."), { recursive: true })
  await previousOwnerGone(options.dir)
  initialise(options, binaries)
  const port = options.port === 0 ? await freePort() : options.port
  if (await answers(port)) throw new Error(`Port ${port} is taken by another program.`)
  const log = fs.openSync(`${options.dir}.log`, "a")
  const server = tether("INT", [binaries.postgres, "-D", options.dir, ...settings(options, port)], {
    ...binaries.account,
    cwd: "/",
    output: log
  })
  fs.closeSync(log)
  let over = false
  server.exited.then(() => {
    over = true
  })
  for (let i = 0; i < 600 && !over; i++) {
    // In this order: a server that answers has replaced what one before it left in the folder.
    if ((await answers(port)) && isReady(options.dir)) {
      return {
        url: Redacted.make(`postgres://postgres:${passwordOf(options.dir)}@127.0.0.1:${port}/postgres`),
        port,
        server
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  server.release()
  throw new Error(`Postgres did not start; see ${options.dir}.log`)
}

/** Real Postgres from npm on 127.0.0.1, stopped when the scope closes and never left behind. */
export class EmbeddedPostgres extends Context.Service<
  EmbeddedPostgres,
  { readonly url: Redacted.Redacted; readonly port: number }
>()("local/EmbeddedPostgres") {
  static readonly make = (options: Options) =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => start(options),
        catch: (error) => new PostgresFailed({ message: (error as Error).message })
      }).pipe(Effect.retry({ times: 1, schedule: Schedule.spaced("500 millis") })),
      ({ server }) =>
        Effect.promise(() => {
          server.release()
          return server.exited
        })
    ).pipe(Effect.map(({ url, port }) => EmbeddedPostgres.of({ url, port })))

  static readonly layer = (options: Options) => Layer.effect(EmbeddedPostgres, EmbeddedPostgres.make(options))
}
