import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Context, Effect, Layer, type Redacted } from "effect"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"

/** An empty database for a suite of tests, on a server of its own that is gone with the suite. */
export class TestDatabase extends Context.Service<TestDatabase, { readonly url: Redacted.Redacted }>()(
  "local/TestDatabase"
) {
  static readonly layer = Layer.effect(
    TestDatabase,
    Effect.map(EmbeddedPostgres, ({ url }) => TestDatabase.of({ url }))
  ).pipe(
    Layer.provide(
      Layer.unwrap(
        Effect.acquireRelease(
          Effect.sync(() => {
            const folder = mkdtempSync(join(tmpdir(), "medipim-test-"))
            // Run by root, Postgres belongs to another user, who has to get in here.
            chmodSync(folder, 0o755)
            return join(folder, "data")
          }),
          (dir) => Effect.sync(() => rmSync(join(dir, ".."), { recursive: true, force: true }))
        ).pipe(Effect.map((dir) => EmbeddedPostgres.layer({ dir, port: 0, durable: false })))
      )
    )
  )
}
