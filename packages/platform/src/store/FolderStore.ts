import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { SnapshotStore, type StoredObject, StoreError } from "@medipim/domain/SnapshotStore"
import { Effect, Layer, Stream } from "effect"
import { retryStoreOutage } from "./StoredObjects.ts"
import { invalidKey } from "./StoreKeys.ts"

type Operation = StoreError["operation"]

const faults: Readonly<Record<string, StoreError["fault"]>> = {
  ENOSPC: "full",
  EDQUOT: "full",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  EISDIR: "invalid",
  ENOTDIR: "invalid"
}

const failure =
  (operation: Operation, key: string) =>
  (cause: unknown): StoreError => {
    const error = cause as NodeJS.ErrnoException
    // What is not there cannot be read; what cannot be made, as below /proc, is a place where nothing may be written.
    const missing = operation === "get" || operation === "list" ? "not-found" : "denied"
    const fault = error.code === "ENOENT" ? missing : (faults[error.code ?? ""] ?? "unavailable")
    return new StoreError({ operation, key, fault, detail: error.message })
  }

const temporary = ".tmp-"

/**
 * Makes a folder and those above it, one by one: the recursive form of Node says ENOENT for a file system that is read-only,
 * and never ends below /proc.
 */
const makeFolder = async (path: string): Promise<void> => {
  const isThere = await fs.promises.stat(path).then(
    () => true,
    () => false
  )
  if (isThere) return
  if (dirname(path) !== path) await makeFolder(dirname(path))
  await fs.promises.mkdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error
  })
}

/** Written beside its place, flushed, then renamed: an object is there whole or not at all. */
const writeWhole = async (path: string, bytes: Uint8Array): Promise<void> => {
  const draft = join(dirname(path), `${temporary}${randomBytes(8).toString("hex")}`)
  await makeFolder(dirname(path))
  try {
    const file = await fs.promises.open(draft, "w")
    await file.writeFile(bytes).finally(() => file.sync().finally(() => file.close()))
    await fs.promises.rename(draft, path)
  } catch (error) {
    await fs.promises.rm(draft, { force: true })
    throw error
  }
}

const entriesOf = (path: string): Promise<ReadonlyArray<fs.Dirent>> =>
  fs.promises.readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return []
    throw error
  })

/** A write takes seconds: what is a day old was left by a process that was killed in one. */
const abandonedAfterMillis = 24 * 60 * 60 * 1000

const removeAbandoned = async (folder: string): Promise<void> => {
  for (const { name } of await entriesOf(folder)) {
    if (!name.startsWith(temporary)) continue
    const draft = join(folder, name)
    // One that is being written may be renamed meanwhile.
    const written = await fs.promises.stat(draft).catch(() => undefined)
    const isAbandoned = written !== undefined && Date.now() - written.mtimeMs > abandonedAfterMillis
    if (isAbandoned) await fs.promises.rm(draft, { force: true })
  }
}

/** Bytes; room for a few parts. With less the next download would fail early. */
const leastSpace = 64 * 1024 * 1024

/** That a part could be stored here now: it tries. */
const assertWritable = async (dir: string): Promise<void> => {
  const probe = join(dir, `${temporary}probe-${randomBytes(4).toString("hex")}`)
  await writeWhole(probe, Buffer.from("medipim"))
  await fs.promises.rm(probe, { force: true })
  await removeAbandoned(dir)
  const { bavail, bsize } = await fs.promises.statfs(dir)
  if (bavail * bsize >= leastSpace) return
  throw Object.assign(new Error(`only ${Math.floor((bavail * bsize) / 1024 / 1024)} MB are left in ${dir}`), {
    code: "ENOSPC"
  })
}

const walk = async (root: string, prefix: string): Promise<ReadonlyArray<StoredObject>> => {
  const found: Array<StoredObject> = []
  for (const entry of await entriesOf(join(root, prefix))) {
    if (entry.isDirectory()) found.push(...(await walk(root, `${prefix}${entry.name}/`)))
    else if (!entry.name.startsWith(temporary)) {
      const { size } = await fs.promises.stat(join(root, prefix, entry.name))
      found.push({ key: `${prefix}${entry.name}`, size })
    }
  }
  return found
}

const byName = (a: string, b: string): number => (a < b ? -1 : 1)

/** Snapshots in a folder on disk: for one machine, and for tests. */
export const layer = (dir: string): Layer.Layer<SnapshotStore> => {
  const attempt = <A>(operation: Operation, key: string, act: () => Promise<A>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      const invalid = invalidKey(operation, key)
      return invalid === undefined
        ? Effect.tryPromise({ try: act, catch: failure(operation, key) })
        : Effect.fail(invalid)
    }).pipe(Effect.withSpan(`FolderStore.${operation}`, { attributes: { key } }))
  const patiently = <A>(operation: Operation, key: string, act: () => Promise<A>) =>
    retryStoreOutage(attempt(operation, key, act))

  return Layer.succeed(SnapshotStore, {
    put: (key, bytes) => patiently("put", key, () => writeWhole(join(dir, key), bytes)),
    get: (key) =>
      Stream.unwrap(
        attempt("get", key, () => fs.promises.access(join(dir, key), fs.constants.R_OK)).pipe(
          Effect.as(
            NodeStream.fromReadable<Uint8Array, StoreError>({
              evaluate: () => fs.createReadStream(join(dir, key), { highWaterMark: 256 * 1024 }),
              onError: failure("get", key)
            })
          )
        )
      ),
    list: (prefix) =>
      patiently("list", prefix, async () => [...(await walk(dir, prefix))].sort((a, b) => byName(a.key, b.key))),
    folders: (prefix) =>
      patiently("list", prefix, async () =>
        (await entriesOf(join(dir, prefix)))
          .filter((entry) => entry.isDirectory())
          .map((entry) => entry.name)
          .sort(byName)
      ),
    remove: (keys) =>
      Effect.forEach(
        keys,
        (key) =>
          patiently("remove", key, async () => {
            const folder = dirname(join(dir, key))
            await fs.promises.rm(join(dir, key), { force: true })
            await removeAbandoned(folder)
            // Only an empty folder goes; one that another writer still uses stays.
            await fs.promises.rmdir(folder).catch(() => {})
          }),
        { discard: true }
      ),
    check: attempt("prepare", "", () => assertWritable(dir))
  })
}
