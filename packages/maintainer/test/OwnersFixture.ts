import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** Objects of the owner of the project, made as in the SQL editor, for as long as the work takes. */
export const withObjects = <A, E, R>(
  make: ReadonlyArray<string>,
  drop: ReadonlyArray<string>,
  work: Effect.Effect<A, E, R>
) =>
  Effect.flatMap(SqlClient, (sql) => {
    const run = (statements: ReadonlyArray<string>) =>
      // The SQL editor has another search path than our connections.
      sql.withTransaction(
        Effect.andThen(
          sql`SET LOCAL search_path = "$user", public, extensions`,
          Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
        )
      )
    return Effect.acquireUseRelease(
      run(make),
      () => work,
      () => Effect.orDie(run(drop))
    )
  })

/** A trigger of theirs on the products; `dropTrigger` takes it away. */
export const trigger = (body: string, when: string, timing = "BEFORE", event = "INSERT OR UPDATE") => [
  `CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} END $$`,
  `CREATE TRIGGER shop_trigger ${timing} ${event} ON public.products FOR EACH ROW ${when} EXECUTE FUNCTION theirs()`
]
export const dropTrigger = ["DROP FUNCTION public.theirs() CASCADE"]
