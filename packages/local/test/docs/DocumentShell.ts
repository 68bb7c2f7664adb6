import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FetcherClient, OrchestratorClient } from "@medipim/http-api/Clients"
import { Context, Effect, Layer } from "effect"
import { root } from "../../src/Workspace.ts"
import type { Call } from "../fly/FlyctlStandIn.ts"
import { flyHouse } from "../fly/FlyHouse.ts"
import { adminKey, TestStack } from "../system/TestStack.ts"
import { standIns } from "./CommandStandIns.ts"

interface Result {
  readonly code: number
  readonly said: string
}

/**
 * A shell in which the commands of the documents mean the local stack and a recording `flyctl`. Public and private addresses
 * of Fly become those of the stack, and names in capitals what a person would fill in; nothing else is changed.
 */
export class DocumentShell extends Context.Service<
  DocumentShell,
  {
    /** Runs it as a script that stops at the first failure; what is asked for (the admin key) is typed. */
    readonly run: (text: string, env?: Readonly<Record<string, string>>) => Effect.Effect<Result>
    /** How flyctl was called by the last script. */
    readonly flyctlCalls: () => ReadonlyArray<Call>
  }
>()("local/test/DocumentShell") {
  static readonly layer = Layer.effect(
    DocumentShell,
    Effect.gen(function* () {
      const { addresses, metricsPort } = yield* TestStack
      const orchestrator = yield* OrchestratorClient
      const fetcher = yield* FetcherClient
      const fly = yield* flyHouse
      for (const name of standIns) {
        const script = `#!/bin/sh\nexec "${process.execPath}" "${join(import.meta.dirname, "CommandStandIns.ts")}" ${name} "$@"\n`
        writeFileSync(join(fly.dir, "bin", name), script, { mode: 0o755 })
      }
      yield* Effect.promise(() => fly.run("deploy.sh", ["--yes"]))

      const localized = Effect.fnUntraced(function* (text: string) {
        const [run] = (yield* orchestrator.runs({ query: { limit: 1 } })).runs
        const [snapshot] = (yield* fetcher.snapshots()).snapshots
        const meanings = {
          "https://medipim-fetcher.fly.dev": addresses.FETCHER_URL,
          "https://medipim-maintainer.fly.dev": addresses.MAINTAINER_URL,
          "https://medipim-orchestrator.fly.dev": addresses.ORCHESTRATOR_URL,
          "http://medipim-orchestrator.internal:3003": addresses.ORCHESTRATOR_URL,
          "http://localhost:3003": addresses.ORCHESTRATOR_URL,
          "http://localhost:9091": `http://localhost:${metricsPort}`,
          RUN_ID: run?.runId,
          SNAPSHOT_ID: snapshot?.snapshotId,
          MACHINE_ID: "3d8d9014b32d68",
          "--image IMAGE": "--image registry.fly.io/medipim-orchestrator:deployment-01"
        }
        return Object.entries(meanings).reduce((said, [name, value]) => said.replaceAll(name, value ?? name), text)
      }, Effect.orDie)

      const run = (text: string, env: Readonly<Record<string, string>> = {}) =>
        Effect.flatMap(localized(text), (script) =>
          Effect.promise<Result>(
            () =>
              new Promise((resolve) => {
                fly.forget()
                const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
                  cwd: root,
                  env: { ...addresses, ADMIN_KEY: adminKey, HOME: fly.dir, ...fly.surroundings, ...env }
                })
                child.stdin.on("error", () => undefined).end(`${adminKey}\n`)
                let said = ""
                for (const output of [child.stdout, child.stderr]) {
                  output.on("data", (piece: Buffer) => {
                    said += piece
                  })
                }
                child.on("close", (code) => resolve({ code: code ?? 1, said }))
              })
          )
        )

      return DocumentShell.of({ run, flyctlCalls: fly.calls })
    })
  )
}
