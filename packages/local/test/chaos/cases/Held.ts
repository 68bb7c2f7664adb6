import { holdTransaction } from "@medipim/testing/HeldTransaction"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Case } from "../harness/Case.ts"

/** Of an advisory lock that nothing else takes. */
const key = 20_260

/**
 * Waits until a row that passes is inserted into a table, or updated in it, and lets nothing but such rows wait: a lock on
 * the table would already keep the maintainer from clearing it.
 */
export const held = (table: string, passes = "true", event: "INSERT" | "UPDATE" = "INSERT"): Case["begin"] =>
  Effect.fnUntraced(function* () {
    const sql = yield* SqlClient
    const drop = sql.unsafe("DROP FUNCTION IF EXISTS public.chaos_wait() CASCADE")
    yield* drop
    yield* sql.unsafe(`CREATE FUNCTION public.chaos_wait() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_advisory_xact_lock_shared(${key}); RETURN NEW; END'`)
    yield* sql.unsafe(`CREATE TRIGGER chaos_wait BEFORE ${event} ON ${table}
      FOR EACH ROW WHEN (${passes}) EXECUTE FUNCTION public.chaos_wait()`)
    yield* Effect.addFinalizer(() => Effect.orDie(drop))
    const { release: open } = yield* holdTransaction(`SELECT pg_advisory_xact_lock(${key})`)
    return {
      sprung: sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${key} AND NOT granted`.pipe(
        Effect.repeat({ until: (waiting) => waiting.length > 0, schedule: Schedule.spaced("20 millis") }),
        Effect.asVoid,
        Effect.orDie
      ),
      open
    }
  })
