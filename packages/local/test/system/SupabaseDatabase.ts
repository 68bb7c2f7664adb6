import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Postgres from "@medipim/platform/database/Postgres"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { root } from "../../src/Workspace.ts"

const password = "password-of-a-test"

/** A file of docs/sql as it stands, statement by statement: our client takes one at a time. */
const statementsOf = (file: string): ReadonlyArray<string> =>
  (
    readFileSync(join(root, "docs/sql", file), "utf8")
      .replace(/^--.*$/gm, "")
      .match(/(?:\$\$[\s\S]*?\$\$|[^;])+/g) ?? []
  ).filter((statement) => statement.trim() !== "")

export const rolesSql = statementsOf("roles.sql")
export const viewSql = statementsOf("shop_products.sql")

/** Roles of the server, as Supabase has them (supabase/postgres, migrations/db/init-scripts). */
const supabaseRoles = [
  "CREATE ROLE anon NOLOGIN NOINHERIT",
  "CREATE ROLE authenticated NOLOGIN NOINHERIT",
  "CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS",
  // What is called postgres there: it owns the database and is no superuser.
  `CREATE ROLE project LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS PASSWORD '${password}'`,
  "GRANT anon, authenticated, service_role TO project"
]

/** What `project` makes in the public schema is open to the three roles, unless it is closed. */
const openByDefault = [
  "GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role",
  ...["TABLES", "SEQUENCES", "FUNCTIONS"].map(
    (kind) => `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON ${kind} TO anon, authenticated, service_role`
  )
]

/** A server with the roles of Supabase, and databases that belong to its role `project`. */
export class SupabaseDatabase extends Context.Service<
  SupabaseDatabase,
  {
    /** Makes a database of this name. */
    readonly make: (name: string) => Effect.Effect<void>
    readonly url: (user: "superuser" | "project" | "medipim_app", name: string) => Redacted.Redacted
    /** Statements of this user, one after the other, on a connection that is then gone. */
    readonly run: (
      user: "superuser" | "project" | "medipim_app",
      name: string,
      statements: ReadonlyArray<string>
    ) => Effect.Effect<void>
    /** The role of docs/sql/roles.sql, made by `project`. */
    readonly makeRole: (name: string) => Effect.Effect<void>
  }
>()("local/test/SupabaseDatabase") {
  static readonly layer = Layer.effect(
    SupabaseDatabase,
    Effect.gen(function* () {
      const server = yield* TestDatabase
      const url: SupabaseDatabase["Service"]["url"] = (user, name) => {
        const address = new URL(Redacted.value(server.url))
        address.pathname = `/${name}`
        if (user !== "superuser") Object.assign(address, { username: user, password })
        return Redacted.make(address.href)
      }
      const run: SupabaseDatabase["Service"]["run"] = (user, name, statements) =>
        Effect.flatMap(SqlClient, (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement))).pipe(
          Effect.provide(
            Layer.fresh(Postgres.layer({ databaseUrl: url(user, name), databaseConnections: 1 }, "test-setup"))
          ),
          Effect.asVoid,
          Effect.orDie
        )
      yield* run("superuser", "postgres", supabaseRoles)
      return SupabaseDatabase.of({
        url,
        run,
        make: (name) =>
          run("superuser", "postgres", [`CREATE DATABASE ${name} OWNER project`]).pipe(
            Effect.andThen(run("project", name, openByDefault))
          ),
        makeRole: (name) => run("project", name, [...rolesSql, `ALTER ROLE medipim_app PASSWORD '${password}'`])
      })
    })
  ).pipe(Layer.provide(TestDatabase.layer))
}
