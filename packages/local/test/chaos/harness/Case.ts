import type { Dice } from "@medipim/testing/Dice"
import { holdTransaction } from "@medipim/testing/HeldTransaction"
import { Effect, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { PostgresFailed } from "../../../src/EmbeddedPostgres.ts"
import type { ProgramFailed } from "../../../src/Program.ts"
import { Environment, headers, type ServiceName } from "./Environment.ts"
import type { Armed, Trap } from "./Proxy.ts"

type Needs = Environment | SqlClient | Scope.Scope
type Mishap = string | SqlError | PostgresFailed | ProgramFailed

/** How a run ends; one that fails with the code of its failure, which is the tag of an error of the services. */
export type Outcome = "succeeded" | "cancelled" | { readonly failed: string }

/** One thing that goes wrong in a sync, and what comes of it. */
export interface Case {
  readonly name: string
  readonly kind: "kill" | "fault" | "cancel" | "stop"
  /** What happened on an earlier day; the table that it leaves is the one before the sync. */
  readonly earlier?: Effect.Effect<void, Mishap, Needs>
  /** Made ready before the sync starts; `sprung` when the sync has come to the place. */
  readonly begin: (dice: Dice) => Effect.Effect<Armed, Mishap, Needs>
  /** What happens there. */
  readonly strike?: (runId: string, armed: Armed) => Effect.Effect<unknown, Mishap, Needs>
  /** How long the fault goes on, in milliseconds; none when not said. */
  readonly lasts?: number
  /** All that a person does afterwards: start the process again. */
  readonly mend?: Effect.Effect<void, Mishap, Needs>
  readonly outcome: Outcome
  /** What must hold besides once the run has ended; answers what does not. */
  readonly demands?: (runId: string) => Effect.Effect<ReadonlyArray<string>, Mishap, Needs>
  /** The publish has begun, and no reader may see anything of it yet. */
  readonly unseen?: boolean
  /** The catalogue changes while it is downloaded: each product may come as it was or as it is. */
  readonly changing?: boolean
  /** Its place is another with each seed. */
  readonly anywhere?: boolean
  /** Left out of the short form: it waits long for what another case shows sooner. */
  readonly thorough?: boolean
}

export const nowhere: Armed = { sprung: Effect.void, open: Effect.void }

type Way = keyof Environment["Service"]["proxies"]

/** Waits on the way between two services. */
export const trapped =
  (way: Way, trap: Trap | ((dice: Dice, environment: Environment["Service"]) => Trap)): Case["begin"] =>
  (dice) =>
    Effect.map(Environment, (environment) =>
      environment.proxies[way].set(typeof trap === "function" ? trap(dice, environment) : trap)
    )

/** A fault on the way between two services, which the system makes up for. */
export const onTheWay = (
  name: string,
  way: Way,
  trap: (dice: Dice, environment: Environment["Service"]) => Trap
): Case => ({
  name,
  kind: "fault",
  begin: trapped(way, trap),
  outcome: "succeeded"
})

/** The same at a place of its own with each seed. */
export const anywhere = (...fault: Parameters<typeof onTheWay>): Case => ({ ...onTheWay(...fault), anywhere: true })

/** Waits until the maintainer wants to write to a table, and keeps it from that. */
export const locked = (table: string): Case["begin"] =>
  Effect.fnUntraced(function* () {
    const sql = yield* SqlClient
    const { release: open } = yield* holdTransaction(`LOCK TABLE ${table} IN SHARE MODE`)
    const waiting = sql<{
      readonly n: number
    }>`SELECT count(*)::int AS n FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE relation = ${table}::regclass AND NOT granted AND application_name = 'medipim-maintainer'`
    return {
      sprung: waiting.pipe(
        Effect.repeat({ until: ([row]) => (row?.n ?? 0) > 0, schedule: Schedule.spaced("20 millis") }),
        Effect.asVoid,
        Effect.orDie
      ),
      open
    }
  })

export const kills = (victim: ServiceName): Pick<Case, "kind" | "strike" | "mend" | "outcome"> => ({
  kind: "kill",
  strike: () => Effect.flatMap(Environment, ({ kill }) => kill(victim)),
  mend: Effect.flatMap(Environment, ({ launch }) => launch(victim)),
  outcome: "succeeded"
})

/** The warnings of a run, as its record has them: JSON of all. */
export const warningsOf = (runId: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) =>
      sql<{
        readonly warnings: string
      }>`SELECT progress->>'errors' AS warnings FROM medipim.sync_runs WHERE id = ${runId}`
  ).pipe(Effect.map(([row]) => row?.warnings ?? ""))

/** A request to an orchestrator, and its answer. */
export const post = (path: string, body?: unknown, orchestrator: 0 | 1 = 0) =>
  Effect.flatMap(Environment, ({ orchestrators }) =>
    Effect.promise(async () => {
      const answer = await fetch(`${orchestrators[orchestrator]}${path}`, {
        method: "POST",
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      return { status: answer.status, body: (await answer.json()) as { readonly runId: string } }
    })
  )
