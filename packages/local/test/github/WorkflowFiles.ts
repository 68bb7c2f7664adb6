import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { parse } from "yaml"
import { root } from "../../src/Workspace.ts"

interface Step {
  readonly id?: string
  readonly uses?: string
  readonly run?: string
  readonly env?: Readonly<Record<string, string>>
}
interface Workflow {
  readonly on: { readonly schedule?: ReadonlyArray<{ readonly cron: string }> }
  readonly permissions: unknown
  readonly concurrency: unknown
  readonly jobs: Readonly<Record<string, Job>>
}
interface Job {
  readonly "timeout-minutes": number
  readonly environment?: string
  readonly needs?: string
  readonly steps: ReadonlyArray<Step>
}

export const textOf = (name: string): string => readFileSync(join(root, `.github/workflows/${name}.yml`), "utf8")
export const workflowOf = (name: string): Workflow => parse(textOf(name))
/** A step of sync.yml. */
export const stepOf = (id: string): Step =>
  Object.values(workflowOf("sync").jobs)
    .flatMap(({ steps }) => steps)
    .find((step) => step.id === id) ?? assert.fail(`no step ${id}`)
