import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "../../../src/Workspace.ts"

/** Something that keeps a promise, how to break it, and the case that has to notice. */
interface Guard {
  readonly name: string
  /** In a file, a text that stands there once, and what takes its place. */
  readonly breaks: ReadonlyArray<readonly [file: string, whole: string, broken: string]>
  readonly noticedBy: string
}

/** A suite that hangs, in milliseconds, has noticed nothing. */
const longestPlay = 180_000

/** The proof of the proof: without any of these the suite turns red. */
const guards: ReadonlyArray<Guard> = [
  {
    name: "the stream is followed to its end",
    breaks: [
      [
        "packages/domain/src/StreamCheck.ts",
        'if (received !== total) return broken("cut", "the stream ended early")',
        "total = received"
      ]
    ],
    noticedBy: "source: cut-between-lines"
  },
  {
    name: "a part counts only when its size is the one of its sidecar",
    breaks: [
      [
        "packages/fetcher/src/Checkpoints.ts",
        "sizes.get(key) === compressedBytes &&",
        "sizes.has(key) && compressedBytes > 0 &&"
      ]
    ],
    noticedBy: "storage: a part is cut short while its fetcher is down"
  },
  {
    name: "requests add up to what the first one announced, each record once",
    breaks: [
      ["packages/fetcher/src/PartCutter.ts", "else if (!cursor.isNew(line)) return false", "else cursor.isNew(line)"],
      ["packages/fetcher/src/PartCutter.ts", "if (records !== total()) throw", "if (records < total()) throw"]
    ],
    // Behind many records: a cut within the first ones repeats none.
    noticedBy: "source: cut-between-lines"
  },
  {
    name: "a part is read as it was written",
    breaks: [["packages/maintainer/src/SnapshotReader.ts", '.digest("hex") === part.sha256', '.digest("hex") !== ""']],
    noticedBy: "storage: a digit of a stored part is another one"
  },
  {
    name: "a publish counts what is staged",
    breaks: [
      [
        "packages/domain/src/PublishRules.ts",
        "const incomplete = incompleteness(staged, scope.records)",
        "const incomplete: string | undefined = undefined"
      ]
    ],
    noticedBy: "database: crash after staging"
  },
  {
    name: "a publish is one transaction",
    breaks: [
      [
        "packages/maintainer/src/Publish.ts",
        "sql.withTransaction(decideAndWrite(request, manifest))",
        "decideAndWrite(request, manifest)"
      ]
    ],
    noticedBy: "maintainer: publishing, at the products"
  },
  {
    name: "a run that is over publishes nothing",
    breaks: [
      [
        "packages/platform/src/database/RunRecords.ts",
        'const running = run?.status === "running" && !(yield* isCancelled(id))',
        "const running = true"
      ],
      ["packages/maintainer/src/Publish.ts", "if (yield* records.isCancelled(runId))", "if (runId === undefined)"],
      ["packages/maintainer/src/Publish.ts", "until: (cancelled) => cancelled", "until: () => false"]
    ],
    noticedBy: "cancel: overtakes its publish"
  },
  {
    name: "a publish on its way does not keep a cancellation waiting",
    breaks: [["packages/maintainer/src/Publish.ts", "until: (cancelled) => cancelled", "until: () => false"]],
    noticedBy: "cancel: in mid publish, its caller gone"
  },
  {
    name: "a cancelled run calls its services off",
    breaks: [
      [
        "packages/orchestrator/src/Cancellation.ts",
        "Effect.flatMap(failUnlessActive),\n    Effect.repeat(",
        "Effect.ignore,\n    Effect.repeat("
      ]
    ],
    noticedBy: "cancel: while staging"
  },
  {
    name: "a stream that broke leaves behind what it had brought",
    breaks: [
      [
        "packages/fetcher/src/Download.ts",
        "isResumable(error) ? Effect.promise(cutter.flush) : Effect.succeed([])",
        "Effect.succeed([])"
      ]
    ],
    noticedBy: "SIGTERM: fetcher while fetching"
  },
  {
    name: "after SIGTERM work goes on to its end",
    breaks: [
      [
        "packages/platform/src/http/ApiServer.ts",
        "const drain = Duration.seconds(20)",
        "const drain = Duration.seconds(1)"
      ]
    ],
    noticedBy: "SIGTERM: maintainer while staging, which it finishes"
  },
  {
    name: "to be told to stop is no failure",
    breaks: [
      [
        "packages/platform/src/process/Service.ts",
        "Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1",
        "Exit.isSuccess(exit) ? 0 : 1"
      ]
    ],
    noticedBy: "SIGTERM: orchestrator while notifying"
  },
  {
    name: "a storage that is unavailable for a moment is asked again",
    breaks: [
      ["packages/platform/src/store/StorageFaults.ts", "status === 0 || status >= 500", "status === 0 || status >= 600"]
    ],
    noticedBy: "storage: unavailable once, for the manifest"
  },
  {
    name: "a publish reads back what it wrote",
    breaks: [
      [
        "packages/maintainer/src/Publish.ts",
        "if (done.unwritten !== undefined) return",
        "if (done.unwritten === runId) return"
      ]
    ],
    noticedBy: "database: a trigger that swallows rows"
  },
  {
    name: "a publish reads back what it removed",
    breaks: [
      [
        "packages/maintainer/src/ProductTable.ts",
        '...describe("products were not removed", gone),',
        "...(gone === undefined ? [] : []),"
      ]
    ],
    noticedBy: "database: a trigger that swallows removals"
  },
  {
    name: "the database knows the order of snapshots, whatever their names",
    breaks: [
      [
        "packages/platform/src/database/PublishOrder.ts",
        "AND seq > coalesce((SELECT seq FROM medipim.sync_runs WHERE id =",
        "AND 0 < coalesce((SELECT 1 WHERE snapshot_id >"
      ]
    ],
    noticedBy: "clock: the orchestrator was two days ahead once"
  },
  {
    name: "no statement waits for a lock without end",
    breaks: [["packages/platform/src/database/Postgres.ts", 'longestLockWait = "30s"', 'longestLockWait = "0"']],
    noticedBy: "database: a lock that outlasts a wait for it"
  },
  {
    name: "a publish takes no lock that readers are in the way of",
    breaks: [
      [
        "packages/maintainer/src/StagingTables.ts",
        "sql`VACUUM (SKIP_LOCKED) medipim.stage_products, medipim.stage_batches`",
        "sql`TRUNCATE medipim.stage_products, medipim.stage_batches`"
      ]
    ],
    noticedBy: "database: a backup reads every table"
  },
  {
    name: "what is away is waited for",
    breaks: [
      [
        "packages/platform/src/process/Outage.ts",
        "export const outageTimeout = Duration.seconds(150)",
        "export const outageTimeout = Duration.seconds(10)"
      ]
    ],
    noticedBy: "outage: store, while fetching"
  },
  {
    name: "one run at a time",
    breaks: [
      [
        "packages/platform/src/database/migrations/0002_runs.ts",
        "CREATE UNIQUE INDEX sync_runs_one_running ON medipim.sync_runs (status) WHERE status = 'running'",
        "CREATE UNIQUE INDEX sync_runs_one_running ON medipim.sync_runs (status, id) WHERE status = 'running'"
      ],
      [
        "packages/platform/src/database/RunRecords.ts",
        "ON CONFLICT (status) WHERE status = 'running' DO NOTHING",
        "ON CONFLICT (id) DO NOTHING"
      ]
    ],
    noticedBy: "two orchestrators, the first is killed"
  }
]

/** The tree as it is, on the same dependencies. */
const copyTree = (to: string): void => {
  fs.chmodSync(to, 0o755)
  for (const name of ["package.json", "scripts", "packages"]) {
    fs.cpSync(join(root, name), join(to, name), {
      recursive: true,
      filter: (from) => !/\/(dist|node_modules)$/.test(from)
    })
  }
  const modules = join(root, "node_modules")
  const own = "@medipim"
  fs.mkdirSync(join(to, "node_modules", own), { recursive: true })
  for (const name of fs.readdirSync(modules)) {
    if (name !== own) fs.symlinkSync(join(modules, name), join(to, "node_modules", name))
  }
  for (const name of fs.readdirSync(join(modules, own))) {
    fs.symlinkSync(join(to, "packages", name), join(to, "node_modules", own, name))
  }
}

const breakIn = (tree: string, { breaks }: Guard): void => {
  for (const [file, whole, broken] of breaks) {
    const path = join(tree, file)
    fs.writeFileSync(path, fs.readFileSync(path, "utf8").replace(whole, broken))
  }
}

/** What of the guards is not in the tree as they say, so that breaking it would break nothing. */
export const outdated: ReadonlyArray<string> = guards.flatMap(({ breaks }) =>
  breaks
    .filter(([file, whole]) => fs.readFileSync(join(root, file), "utf8").split(whole).length !== 2)
    .map(([file, whole]) => `${file} does not have once: ${whole}`)
)

/** Plays the case on a tree in which the guard is broken; true when it noticed. */
const isNoticed = (guard: Guard, seed: string): boolean => {
  const tree = fs.mkdtempSync(join(tmpdir(), "medipim-guard-"))
  try {
    copyTree(tree)
    breakIn(tree, guard)
    const suite = join(tree, "packages/local/test/chaos/main.ts")
    const { status, stdout } = spawnSync(
      process.execPath,
      ["--conditions=medipim-source", suite, "--short", "--only", guard.noticedBy],
      { cwd: tree, encoding: "utf8", timeout: longestPlay, env: { ...process.env, MEDIPIM_CHAOS_SEED: seed } }
    )
    const found = stdout.split("\n").filter((line) => line.startsWith(`  ${guard.noticedBy}, seed`))
    process.stdout.write(`${found.length > 0 ? "noticed" : "MISSED "}  ${guard.name}\n${found.join("\n")}\n`)
    if (found.length === 0) process.stdout.write(`${stdout}\n`)
    return status === 1 && found.length > 0
  } finally {
    fs.rmSync(tree, { recursive: true, force: true })
  }
}

export const guardsNamed = (only: string): ReadonlyArray<Guard> => guards.filter(({ name }) => name.includes(only))

/** Breaks each of them once, on purpose, in a copy of the tree. Answers how many nobody noticed. */
export const missedOf = (chosen: ReadonlyArray<Guard>, seed: number): number =>
  chosen.filter((guard) => !isNoticed(guard, String(seed))).length
