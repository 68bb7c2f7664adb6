// Runs before `start`, `test` and the like, on whatever Node the machine has: installs what the lock file names, when
// node_modules holds anything else. Contents are compared, not dates: a checkout or a copy changes dates.
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

process.chdir(fileURLToPath(new URL("..", import.meta.url)))

/** @param {string} file */
const packagesOf = (file) =>
  Object.entries(JSON.parse(readFileSync(file, "utf8")).packages).filter(([path]) => path.startsWith("node_modules/"))

const isCurrent = () => {
  if (!existsSync("node_modules/.bin/node")) return false
  try {
    const wanted = packagesOf("package-lock.json")
    const installed = new Map(packagesOf("node_modules/.package-lock.json"))
    return (
      installed.size <= wanted.length &&
      wanted.every(([path, { version, integrity, optional }]) => {
        const found = installed.get(path)
        // What is optional may be made for another platform.
        return found ? found.version === version && found.integrity === integrity : optional === true
      })
    )
  } catch {
    // The record of the last install is missing or was cut short.
    return false
  }
}

if (!isCurrent()) {
  const count = packagesOf("package-lock.json").length
  // Standard error: what a command prints may be piped into another one.
  console.error(`Installing up to ${count} packages (npm ci). This takes about half a minute, and happens once.`)
  const { error, status, stdout, stderr } = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32"
  })
  // npm warns of the Node that the machine has; ours is one of the packages. When the install fails, all of it counts.
  if (status !== 0) console.error(`${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}\nnpm ci failed: see above.`)
  process.exit(status ?? 1)
}
