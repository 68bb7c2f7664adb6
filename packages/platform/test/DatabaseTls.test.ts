import { type AddressInfo, createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { databaseTls } from "../src/database/DatabaseTls.ts"
import * as Postgres from "../src/database/Postgres.ts"

const authority = "-----BEGIN CERTIFICATE-----\nof a test\n-----END CERTIFICATE-----"
const at = (host: string, query = "") => databaseTls(`postgres://u:p@${host}:5432/x${query}`, Option.none())
const encrypted = { rejectUnauthorized: false }

/** A server that speaks no TLS, and what it was told. */
const plainServer = Effect.gen(function* () {
  const pieces: Array<Buffer> = []
  const server = createServer((socket) => {
    socket.on("error", () => {})
    socket.on("data", (piece) => {
      pieces.push(piece)
      socket.write("N")
    })
  })
  yield* Effect.callback<void>((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  return { port: (server.address() as AddressInfo).port, heard: () => Buffer.concat(pieces).toString("hex") }
})

describe("The way to the database", () => {
  it("is encrypted when it leaves the machine and its own network", () => {
    for (const host of ["db.abcdefgh.supabase.co", "aws-0-x.pooler.supabase.com", "203.0.113.9", "[2001:db8::9]"]) {
      assert.deepStrictEqual(at(host), encrypted, host)
    }
    for (const host of ["localhost", "127.0.0.1", "[::1]", "db", "10.1.2.3", "192.168.1.2", "[fdaa:0:18::3]"]) {
      assert.isUndefined(at(host), host)
    }
    for (const host of ["db.internal", "db.flycast", "mine.local"]) assert.isUndefined(at(host), host)
    assert.isUndefined(databaseTls("postgres://u:p@/x?host=/var/run/postgresql", Option.none()))
    assert.deepStrictEqual(databaseTls("postgres://u@db/x?host=db.example.com", Option.none()), encrypted)
  })

  it("is what sslmode says", () => {
    assert.isFalse(at("db.example.com", "?sslmode=disable"))
    assert.deepStrictEqual(at("localhost", "?sslmode=require"), encrypted)
    assert.deepStrictEqual(at("db.example.com", "?sslmode=verify-full"), { rejectUnauthorized: true })
    assert.isUndefined(databaseTls("postgres://u:p@localhost/x?sslmode=prefer", Option.none()))
  })

  it("is not talked out of encryption by a server that says it has none", () => {
    for (const weak of ["?sslmode=prefer", "?sslmode=allow"]) {
      assert.deepStrictEqual(at("db.example.com", weak), encrypted)
      assert.deepStrictEqual(databaseTls(`postgres://u@localhost/x${weak}`, Option.some(authority)), {
        rejectUnauthorized: true,
        ca: authority
      })
    }
  })

  it("asks the server to prove who it is when there is an authority to check it by", () => {
    for (const url of [
      "postgres://u@db.example.com/x",
      "postgres://u@localhost/x",
      "postgres://u@db/x?sslmode=require"
    ]) {
      assert.deepStrictEqual(databaseTls(url, Option.some(authority)), { rejectUnauthorized: true, ca: authority }, url)
    }
  })

  it.live("is not taken without TLS by a server that refuses it: neither user nor password is told", () =>
    Effect.gen(function* () {
      const { port, heard } = yield* plainServer
      const databaseUrl = Redacted.make(`postgres://someone:the-password@127.0.0.1:${port}/x?sslmode=require`)
      const error = yield* Effect.flatMap(SqlClient, (sql) => sql`SELECT 1`).pipe(
        Effect.provide(Postgres.layer({ databaseUrl, databaseConnections: 1 }, "test")),
        Effect.flip
      )
      assert.match(Postgres.sqlMessage(error), /does not support TLS/)
      // The question for TLS (length 8, code 80877103), and nothing after it.
      assert.match(heard(), /^(0000000804d2162f)+$/)
    }).pipe(Effect.scoped)
  )
})
