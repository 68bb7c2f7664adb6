import { spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { accountOf } from "./PostgresBinaries.ts"

/** The root of the repository. */
export const root = fileURLToPath(new URL("../../..", import.meta.url))

/** What the stack keeps between starts. Nothing outside of it is written, but see `databaseDir`. */
const folder = process.env.MEDIPIM_LOCAL_DIR || join(root, ".local")
export const snapshotDir = join(folder, "snapshots")
export const logDir = join(folder, "logs")
/**
 * The addresses and the key of the stack, for `npm run medipim`. It is there while the stack runs, and goes before `.env`:
 * next to a stack on this machine, production is never meant.
 */
const stackFile = join(folder, "stack.env")
const keyFile = join(folder, "admin-key")

export const prepare = (): void => {
  for (const dir of [folder, snapshotDir, logDir]) fs.mkdirSync(dir, { recursive: true })
}

/**
 * Where the database lives. Run by root, Postgres belongs to another user; when that one cannot get into the repository
 * (one below /root, say), the data lies in the temporary folder that survives a restart of the machine.
 */
export const databaseDir = (): string => {
  const inside = join(folder, "postgres")
  const account = accountOf()
  const reachable =
    account.uid === undefined || spawnSync("test", ["-x", folder], { ...account, cwd: "/" }).status === 0
  if (reachable) return inside
  const base = fs.existsSync("/var/tmp") ? "/var/tmp" : tmpdir()
  const outside = join(base, `medipim-${createHash("sha256").update(folder).digest("hex").slice(0, 12)}`)
  fs.mkdirSync(outside, { recursive: true, mode: 0o755 })
  return join(outside, "postgres")
}

const writeSecret = (file: string, text: string): void => {
  fs.writeFileSync(file, text, { mode: 0o600 })
  fs.chmodSync(file, 0o600)
}

/** The admin key: the environment's, the one of the last start, or a new one. */
export const adminKey = (fromEnvironment: string | undefined): string => {
  const before = fs.existsSync(keyFile) ? fs.readFileSync(keyFile, "utf8").trim() : ""
  const key = fromEnvironment ?? (before === "" ? randomBytes(24).toString("hex") : before)
  writeSecret(keyFile, key)
  return key
}

export const describeStack = (variables: Readonly<Record<string, string>>): void =>
  writeSecret(
    stackFile,
    Object.entries(variables)
      .map(([name, value]) => `${name}=${value}\n`)
      .join("")
  )

export const forgetStack = (): void => fs.rmSync(stackFile, { force: true })
