import { execFileSync } from "node:child_process"
import { chmodSync, mkdtempSync, rmdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { SupabaseStandIn } from "@medipim/testing/SupabaseStandIn"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Effect, Redacted } from "effect"
import { readiness } from "../src/http/Readiness.ts"
import * as FolderStore from "../src/store/FolderStore.ts"
import * as SupabaseStore from "../src/store/SupabaseStore.ts"

const supabase = (url: string, key: string) =>
  SnapshotStore.pipe(
    Effect.provide(SupabaseStore.layer({ url, serviceRoleKey: Redacted.make(key), bucket: "medipim-raw" }))
  )
const folder = (dir: string) => SnapshotStore.pipe(Effect.provide(FolderStore.layer(dir)))

/** What `/readyz` says of the store, and how many milliseconds it took to say so. */
const asked = (store: SnapshotStore["Service"]) =>
  Effect.gen(function* () {
    const before = performance.now()
    const reason = yield* readiness([{ name: "snapshot store", check: store.check }]).pipe(
      Effect.as("ready"),
      Effect.catch(({ failing }) => Effect.succeed(failing.map(({ reason }) => reason).join()))
    )
    return { reason, millis: performance.now() - before }
  })

const bytes = Buffer.from("1")
const put = (store: SnapshotStore["Service"]) => store.put("snapshots/s/part", bytes, "text/plain")

/** A server that gives every request this answer, after so long. */
const gateway = (status: number, { body = "<html>Bad gateway</html>", millis = 0 } = {}) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((_request, response) => {
        response.writeHead(status, { "content-type": body.startsWith("{") ? "application/json" : "text/html" })
        setTimeout(() => response.end(body), millis)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close().closeAllConnections())
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`))

const mount = (dir: string, options: string): void => {
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", dir], { stdio: "pipe" })
}

const unmount = (dir: string): void => {
  execFileSync("umount", [dir])
}

/** True when this process is root and may mount a disk of its own. */
const mayMount = ((): boolean => {
  if (process.getuid?.() !== 0) return false
  const dir = mkdtempSync(join(tmpdir(), "medipim-mount-"))
  try {
    mount(dir, "size=1m")
    unmount(dir)
    return true
  } catch {
    return false
  } finally {
    rmdirSync(dir)
  }
})()

describe("A store in which no snapshot could be kept", () => {
  it.live("is a bucket that anybody can read: it is refused and nothing is written into it", () =>
    Effect.gen(function* () {
      const standIn = yield* SupabaseStandIn
      const store = yield* supabase(standIn.url, standIn.key)
      standIn.setPublic(true)
      assert.match((yield* asked(store)).reason, /the bucket is public\. Make the bucket private/)
      assert.deepInclude(yield* Effect.flip(put(store)), { fault: "public", retryable: false })
      assert.isEmpty(standIn.seen().filter((request) => /^POST .*\/object\//.test(request)))
      standIn.setPublic(false)
      assert.strictEqual((yield* asked(store)).reason, "ready")
      yield* put(store)
      standIn.setPublic(true)
      assert.match((yield* asked(store)).reason, /public/, "also when it became public later")
    }).pipe(Effect.provide(SupabaseStandIn.layer))
  )

  it.live("is a bucket that the key for browsers does not see: its empty list proves nothing", () =>
    Effect.gen(function* () {
      const standIn = yield* SupabaseStandIn
      yield* put(yield* supabase(standIn.url, standIn.key))
      const store = yield* supabase(standIn.url, standIn.publicKey)
      const looks = [store.list("snapshots/"), store.folders("snapshots/"), put(store), store.check].map(Effect.asVoid)
      for (const look of looks) {
        const error = yield* Effect.flip(look)
        assert.deepInclude(error, { _tag: "StoreError", fault: "denied", retryable: false })
        assert.include(error.message, "Check the secret key of Supabase")
      }
    }).pipe(Effect.provide(SupabaseStandIn.layer))
  )

  it.live("is a bucket that can be read and not written", () =>
    Effect.gen(function* () {
      const standIn = yield* SupabaseStandIn
      const store = yield* supabase(standIn.url, standIn.key)
      yield* put(store)
      standIn.setReadOnly(true)
      const { reason } = yield* asked(store)
      assert.match(reason, /\(denied\): 403 new row violates row-level security policy/)
      assert.lengthOf(yield* store.list("snapshots/"), 1)
    }).pipe(Effect.provide(SupabaseStandIn.layer))
  )

  it.live("is one that does not answer: the cause is named within the time of the probe", () =>
    Effect.gen(function* () {
      const closed = yield* Effect.scoped(gateway(200))
      const silent = yield* SupabaseStandIn
      silent.trouble(...Array.from({ length: 20 }, () => "hang" as const))
      const causes: ReadonlyArray<readonly [url: string, reason: RegExp]> = [
        ["http://no-such-host.invalid", /ENOTFOUND|EAI_AGAIN/],
        [closed, /ECONNREFUSED/],
        [yield* gateway(502), /502 Bad Gateway/],
        [silent.url, /no answer in time/],
        // Each of its answers comes in time, but not all of them together.
        [yield* gateway(200, { body: '{"public":false}', millis: 3000 }), /no answer in time/]
      ]
      for (const [url, reason] of causes) {
        const answer = yield* asked(yield* supabase(url, silent.key))
        assert.match(answer.reason, reason)
        assert.isBelow(answer.millis, 5000, url)
      }
    }).pipe(Effect.scoped, Effect.provide(SupabaseStandIn.layer))
  )

  it.live("is a folder that cannot be made, with what to do", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder("unfit")
      writeFileSync(join(dir, "file"), "")
      for (const path of ["/proc/snapshots/deeper", join(dir, "file", "snapshots")]) {
        const store = yield* folder(path)
        const { reason } = yield* asked(store)
        assert.match(reason, /\((denied|invalid)\)/, path)
        const error = yield* Effect.flip(put(store))
        assert.isFalse(error.retryable, path)
        assert.notInclude(error.message, "forceRefresh")
      }
    }).pipe(Effect.scoped)
  )

  // Root may write in any folder that is not mounted for reading only.
  it.live.skipIf(process.getuid?.() === 0 && !mayMount)("is a folder in which nothing may be written", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder("unfit")
      yield* Effect.acquireUseRelease(
        Effect.sync(() => (mayMount ? mount(dir, "ro") : chmodSync(dir, 0o500))),
        () =>
          Effect.gen(function* () {
            const store = yield* folder(join(dir, "snapshots"))
            assert.match((yield* asked(store)).reason, /\(denied\).*who may write to the folder/)
            assert.deepInclude(yield* Effect.flip(put(store)), { fault: "denied", retryable: false })
          }),
        () => Effect.sync(() => (mayMount ? unmount(dir) : chmodSync(dir, 0o700)))
      )
    }).pipe(Effect.scoped)
  )

  // A disk of our own takes root, and the right to mount.
  it.live.skipIf(!mayMount)("is a disk that is full, or nearly", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder("unfit")
      yield* Effect.acquireUseRelease(
        Effect.sync(() => mount(dir, "size=1m")),
        () =>
          Effect.gen(function* () {
            const store = yield* folder(join(dir, "snapshots"))
            assert.match((yield* asked(store)).reason, /\(full\): only \d+ MB are left in .*Make room on the disk/)
            const error = yield* Effect.flip(store.put("snapshots/s/p", Buffer.alloc(2 * 1024 * 1024), "text/plain"))
            assert.deepInclude(error, { fault: "full", retryable: false })
            assert.deepStrictEqual(yield* store.list("snapshots/"), [], "nothing of it is left")
          }),
        () => Effect.sync(() => unmount(dir))
      )
    }).pipe(Effect.scoped)
  )
})
