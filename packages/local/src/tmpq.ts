import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

const q = process.argv[2]!
Effect.runPromise(
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql.unsafe(q)
    for (const r of rows) console.log(JSON.stringify(r, (_k, v) => (typeof v === "bigint" ? Number(v) : v)))
  }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(process.env.DATABASE_URL!) })))
)
