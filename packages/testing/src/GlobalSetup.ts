import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Makes a folder that all suites of a test run share, and removes it at the end. Says how to repeat random tests. */
export const setup = () => {
  const dir = mkdtempSync(join(tmpdir(), "medipim-shared-"))
  chmodSync(dir, 0o755)
  process.env.MEDIPIM_SHARED_DIR = dir
  const { MEDIPIM_RANDOM_SEED: seed } = process.env
  if (seed !== undefined) process.stdout.write(`To repeat this: MEDIPIM_RANDOM_SEED=${seed} npm run test:random\n`)
  return () => rmSync(dir, { recursive: true, force: true })
}
