import { timedIdOf } from "@medipim/domain/Ids"
import { holdTransaction } from "@medipim/testing/HeldTransaction"
import { Clock, Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type Case, locked, nowhere, post, warningsOf } from "../harness/Case.ts"
import { endOf } from "../harness/CaseRunner.ts"
import { Environment, headers } from "../harness/Environment.ts"
import { forGood } from "../harness/Figures.ts"
import { databaseFault, logsAfter } from "./DatabaseFaults.ts"
import { failing } from "./Failing.ts"

/** A trigger that somebody has put on `public.products`. */
const trigger = (body: string, events = "INSERT OR UPDATE", when = "true"): Case["begin"] =>
  Effect.fnUntraced(function* () {
    const sql = yield* SqlClient
    const drop = sql.unsafe("DROP FUNCTION IF EXISTS public.owners_trigger() CASCADE")
    yield* drop
    yield* sql.unsafe(`CREATE FUNCTION public.owners_trigger() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN ${body}; RETURN NEW; END $$`)
    yield* sql.unsafe(`CREATE TRIGGER owners_trigger BEFORE ${events} ON public.products
      FOR EACH ROW WHEN (${when}) EXECUTE FUNCTION public.owners_trigger()`)
    yield* Effect.addFinalizer(() => Effect.orDie(drop))
    return nowhere
  })

const withTrigger = (name: string, ...what: Parameters<typeof trigger>): Omit<Case, "outcome"> => ({
  name: `database: a trigger that ${name}`,
  kind: "fault",
  begin: trigger(...what)
})

/** There is something to remove, and the run fails: what the source has then does not matter yet. */
const losesRemovals: Omit<Case, "outcome"> = {
  ...withTrigger("swallows removals", "RETURN NULL", "UPDATE", "NEW.removed_at IS NOT NULL"),
  begin: (dice) =>
    Effect.gen(function* () {
      const { control } = yield* Environment
      yield* control("POST /control/changes", { remove: 1 })
      return yield* trigger("RETURN NULL", "UPDATE", "NEW.removed_at IS NOT NULL")(dice)
    })
}

/** A transaction that holds this until the sync has been looked at, in the way of nobody. */
const holding = (statement: string): Case["begin"] =>
  Effect.fnUntraced(function* () {
    const sql = yield* SqlClient
    yield* holdTransaction(statement)
    const found = new Set<string>()
    const waits = sql<{ readonly query: string }>`SELECT DISTINCT query FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE NOT granted AND relation IS NOT NULL AND application_name LIKE 'medipim-%'`.pipe(
      Effect.map((rows) => {
        for (const { query } of rows) found.add(`waits for the lock of a reader: ${query}`)
        return rows.length
      })
    )
    yield* Effect.forkScoped(Effect.repeat(waits, Schedule.spaced("20 millis")))
    return { ...nowhere, complaints: Effect.sync(() => [...found]) }
  })

const tables = [
  "public.products",
  ...["stage_products", "stage_batches", "product_changes", "rejected_records", "sync_runs", "sync_chunks"].map(
    (name) => `medipim.${name}`
  )
]

const lockHolder = "holds it"
const publishing = locked("public.products")

/** The record of the run names who holds the lock. */
const showsHolder = (runId: string) =>
  Effect.flatMap(Environment, ({ orchestrators }) =>
    Effect.promise(async () => (await fetch(`${orchestrators[0]}/runs/${runId}`, { headers })).text())
  ).pipe(Effect.repeat({ until: (text) => text.includes(lockHolder), schedule: Schedule.spaced("500 millis") }))

const days = 24 * 60 * 60 * 1000
/** One sync began while the clock of the orchestrator was two days ahead; then a product was taken out of the source. */
const wrongClock: Case = {
  name: "clock: the orchestrator was two days ahead once",
  kind: "fault",
  earlier: Effect.gen(function* () {
    const { control, setClock } = yield* Environment
    yield* setClock(2 * days)
    const { body } = yield* post("/sync", { forceRefresh: true })
    yield* endOf(body.runId)
    yield* setClock(0)
    const tomorrow = timedIdOf((yield* Clock.currentTimeMillis) + days, 0)
    if (body.runId < tomorrow) return yield* Effect.die(new Error("the clock of the orchestrator was not wrong"))
    yield* control("POST /control/changes", { remove: 1 })
  }),
  begin: () => Effect.succeed(nowhere),
  outcome: "succeeded"
}

/** What the owner of a database, or of a machine, has there that is not ours. */
export const owners: ReadonlyArray<Case> = [
  failing(withTrigger("swallows rows", "RETURN NULL"), "PublishRefused", "On the table are: trigger owners_trigger."),
  { ...failing(losesRemovals, "PublishRefused", "On the table are: trigger owners_trigger."), thorough: true },
  {
    ...withTrigger("rewrites rows", "NEW.name := 'rewritten'; NEW.brand := NULL"),
    outcome: "succeeded",
    demands: (runId) =>
      Effect.map(warningsOf(runId), (notes) =>
        /name of \d+ products.*trigger owners_trigger/.test(notes) ? [] : [`no note tells of the trigger: ${notes}`]
      )
  },
  { ...withTrigger("slows rows", "PERFORM pg_sleep(0.1)"), outcome: "succeeded", thorough: true },
  failing(
    withTrigger(
      "refuses a row",
      "IF NEW.id = (SELECT max(id) FROM medipim.stage_products) THEN RAISE 'not this one'; END IF"
    ),
    "WriteFailed",
    "On the table are: trigger owners_trigger."
  ),
  {
    name: "database: a backup reads every table",
    kind: "fault",
    begin: holding(`LOCK ${tables.join(", ")} IN ACCESS SHARE MODE`),
    outcome: "succeeded",
    thorough: true
  },
  {
    ...databaseFault("a lock that outlasts a wait for it", publishing, (runId) =>
      logsAfter("canceling statement due to lock timeout", Effect.asVoid(showsHolder(runId)))
    ),
    thorough: true
  },
  {
    ...failing(
      databaseFault("a lock for good", publishing, (runId) =>
        // The lock is not let go before the run has ended.
        endOf(runId, forGood)
      ),
      "WriteFailed",
      "Sync again when it is free."
    ),
    lasts: forGood,
    thorough: true
  },
  wrongClock
]
