import { join } from "node:path"
import { EmbeddedPostgres } from "@medipim/local/EmbeddedPostgres"
import { Context, Effect, Layer, type Redacted } from "effect"
import { temporaryFolder } from "./TemporaryFolder.ts"

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
        Effect.map(temporaryFolder("test"), (folder) =>
          EmbeddedPostgres.layer({ dir: join(folder, "data"), port: 0, durable: false })
        )
      )
    )
  )
}
