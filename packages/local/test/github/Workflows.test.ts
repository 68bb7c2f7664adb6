import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "../../src/Workspace.ts"
import { textOf, workflowOf } from "./WorkflowFiles.ts"

const workflows = readdirSync(join(root, ".github/workflows")).map((file) => file.replace(/\.yml$/, ""))

describe.each(workflows)("The workflow %s", (name) => {
  const { permissions, concurrency, jobs } = workflowOf(name)
  const steps = Object.values(jobs).flatMap((job) => job.steps)

  it("takes actions by the digest of a commit, and tells their version", () => {
    const uses = [...textOf(name).matchAll(/uses: (.*)/g)].map(([, action]) => action)
    assert.isNotEmpty(uses)
    for (const action of uses) assert.match(action ?? "", /^[\w./-]+@[0-9a-f]{40} # v?\d+(\.\d+)+$/)
  })

  it("puts no expression into a shell", () => {
    for (const { run } of steps) assert.notInclude(run ?? "", "${{")
  })

  it("has no step that a linter of shell scripts would have to read", () => {
    for (const { run } of steps) assert.notInclude(run?.trim() ?? "", "\n")
  })

  it("gives a secret only to a job of an environment", () => {
    for (const [job, { environment }] of Object.entries(jobs)) {
      if (JSON.stringify(jobs[job]).includes("secrets.")) assert.isDefined(environment, job)
    }
  })

  it("may read the code and no more, one at a time and not for ever", () => {
    assert.deepEqual(permissions, { contents: "read" })
    assert.isDefined(concurrency)
    for (const job of Object.values(jobs)) assert.isAtMost(job["timeout-minutes"], 180)
  })
})

describe("The secrets of GitHub", () => {
  const said = ["docs/fly-deployment.md", "docs/security.md", "fly/deploy.sh", "fly/rotate-admin-key.sh"]

  it.each(said)("are set by %s in the environment whose job reads them", (file) => {
    const commands = [...readFileSync(join(root, file), "utf8").matchAll(/gh secret set (\w+)(?: --env (\w+))?/g)]
    assert.isNotEmpty(commands)
    for (const [command, secret, environment] of commands) {
      const readers = workflows
        .flatMap((name) => Object.values(workflowOf(name).jobs))
        .filter((job) => JSON.stringify(job).includes(`secrets.${secret} `))
      assert.isNotEmpty(readers, command)
      for (const reader of readers) assert.strictEqual(reader.environment, environment, command)
    }
  })
})

describe("deploy.yml", () => {
  it("deploys nothing that was not checked and tested first", () => {
    const { check, deploy } = workflowOf("deploy").jobs
    assert.strictEqual(deploy?.needs, "check")
    assert.deepEqual(
      check?.steps.flatMap(({ run }) => run ?? []),
      ["npm ci", "npm run check", "npm test"]
    )
  })

  it("deploys by the script, with options that it knows", () => {
    const { deploy } = workflowOf("deploy").jobs
    assert.strictEqual(deploy?.steps.at(-1)?.run, 'fly/deploy.sh --yes --keep-secrets --only "$ONLY"')
  })
})
