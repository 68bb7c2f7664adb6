import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { freePorts } from "../../src/Ports.ts"
import { root } from "../../src/Workspace.ts"
import { piecesOf } from "../docs/DocumentPieces.ts"
import { SupabaseDatabase } from "../system/SupabaseDatabase.ts"
import { adminKey } from "../system/TestStack.ts"

const guide = piecesOf("docs/fly-deployment.md").filter(({ language }) => language === "sh")
const commandsOf = (chapter: string) =>
  guide.flatMap(({ heading, text }) => (heading === chapter && text !== "" ? [text] : []))
const [migrate = "", startMaintainer = "", ask = "", ...others] = commandsOf("3. Try Supabase from your machine")

/** All that an address could take for something else, and a shell too. */
const password = `p@ss/w#rd%20? :+&'"$é`

/** Runs a command as its reader would; ends it and what it started when the scope closes. */
const begin = (script: string, cwd: string, env: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
        cwd,
        detached: true,
        env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, ...env }
      })
      let said = ""
      for (const output of [child.stdout, child.stderr]) {
        output.on("data", (piece: Buffer) => {
          said += piece
        })
      }
      const ended = new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)))
      return { child, ended, said: () => said }
    }),
    ({ child, ended }) =>
      Effect.promise(() => {
        if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
          process.kill(-child.pid, "SIGTERM")
        return ended
      })
  )

const run = Effect.fnUntraced(function* (
  script: string,
  cwd: string,
  env: Readonly<Record<string, string>>,
  typed = ""
) {
  const { child, ended, said } = yield* begin(script, cwd, env)
  child.stdin.end(typed)
  return { code: yield* Effect.promise(() => ended), said: said() }
}, Effect.scoped)

/** A Supabase project after chapter 1, and a folder with the `.env` of chapter 2. */
const operator = Effect.gen(function* () {
  const { make, makeRole, run: inDatabase, url } = yield* SupabaseDatabase
  const supabase = yield* SupabaseStandIn
  const dir = yield* temporaryFolder("operator")
  const { maintainer, metrics } = yield* freePorts
  const encode = commandsOf("1. Supabase").filter((text) => /\bPASSWORD\b/.test(text))
  assert.lengthOf(encode, 2)
  const encoded = yield* run(encode.join("\n"), dir, {}, `${password}\n`)
  assert.strictEqual(encoded.code, 0, encoded.said)

  const name = "first_deployment"
  yield* make(name)
  yield* makeRole(name)
  yield* inDatabase("project", name, [`ALTER ROLE medipim_app PASSWORD '${password.replaceAll("'", "''")}'`])
  const { host } = new URL(Redacted.value(url("medipim_app", name)))
  const env = {
    ADMIN_KEY: adminKey,
    DATABASE_URL: `postgres://medipim_app:${encoded.said.trim()}@${host}/${name}`,
    SUPABASE_URL: supabase.url,
    SUPABASE_SERVICE_ROLE_KEY: supabase.key,
    // What npm keeps at home, and what a developer's own .env holds, stays out.
    HOME: dir,
    npm_config_update_notifier: "false",
    DATABASE_CA: "",
    SNAPSHOT_DIR: "",
    IDLE_SHUTDOWN: "",
    LISTEN_ADDRESS: "127.0.0.1",
    MAINTAINER_PORT: String(maintainer.port),
    METRICS_PORT: String(metrics.port)
  }
  writeFileSync(join(dir, ".env"), `ADMIN_KEY=${adminKey}\n`)
  const curl = join(import.meta.dirname, "../docs/CommandStandIns.ts")
  writeFileSync(join(dir, "curl"), `#!/bin/sh\nexec "${process.execPath}" "${curl}" curl "$@"\n`, { mode: 0o755 })

  /** The answer that the reader gets, once the maintainer answers at all. */
  const readyz = run(ask.replaceAll("localhost:3002", `127.0.0.1:${maintainer.port}`), dir, {
    PATH: `${dir}:${dirname(process.execPath)}:/usr/bin:/bin`
  }).pipe(
    Effect.filterOrFail(({ said }) => said.startsWith("{")),
    Effect.retry({ schedule: Schedule.spaced("200 millis"), times: 100 })
  )
  return { env, readyz, supabase }
})

layer(Layer.merge(SupabaseDatabase.layer, SupabaseStandIn.layer), { excludeTestServices: true, timeout: "90 seconds" })(
  "docs/fly-deployment.md, from a laptop to Supabase",
  (it) => {
    it.effect("encodes the password, makes the tables and finds everything ready", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(others, [])
        const { env, readyz, supabase } = yield* operator

        const wrong = yield* run(migrate, root, { ...env, DATABASE_URL: env.DATABASE_URL.replace("p%40ss", "pass") })
        assert.strictEqual(wrong.code, 1)
        assert.include(wrong.said, "password authentication failed")
        const first = yield* run(migrate, root, env)
        assert.strictEqual(first.code, 0, first.said)
        assert.include(first.said, "Migrated: 0001_catalogue, ")
        assert.include((yield* run(migrate, root, env)).said, "The database is up to date")

        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* begin(startMaintainer, root, env)
            assert.deepInclude(yield* readyz, { code: 0, said: '{"status":"ready"}' })
          })
        )
        // The key of a web page in the place of the secret one.
        const refused = yield* run(startMaintainer, root, { ...env, SUPABASE_SERVICE_ROLE_KEY: supabase.publicKey })
        assert.strictEqual(refused.code, 1)
        assert.match(refused.said, /SUPABASE_SERVICE_ROLE_KEY is the (?:anon|publishable) key: use the secret key/)
      })
    )
  }
)
