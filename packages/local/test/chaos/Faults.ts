import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Trouble } from "../../../platform/test/SupabaseStandIn.ts"
import { type Case, type Dice, locked, nowhere, post, trapped } from "./Case.ts"
import { cancelWithin } from "./Figures.ts"
import { House, type ServiceName } from "./House.ts"
import type { Trap } from "./Proxy.ts"

const armSimulator = (fault: Record<string, unknown>): Case["begin"] =>
  Effect.fnUntraced(function* () {
    const { control } = yield* House
    yield* control("POST /control/faults", fault)
    return { sprung: Effect.void, open: Effect.void }
  })

const fromSource = (fault: string, outcome: Case["outcome"], more: Record<string, unknown> = {}): Case => ({
  name: `source: ${[fault, ...Object.entries(more).map((pair) => pair.join(" "))].join(", ")}`,
  kind: "fault",
  begin: armSimulator({ fault, ...more }),
  outcome
})

const onTheWay = (name: string, way: Parameters<typeof trapped>[0], trap: (dice: Dice) => Trap): Case => ({
  name,
  kind: "fault",
  begin: trapped(way, trap),
  outcome: "succeeded"
})

const readsPart = /^GET \/storage\/v1\/object\/medipim-raw\/.*ndjson\.gz$/
const storesPart = /^(PUT|POST) \/storage\/v1\/object\/medipim-raw\/.*ndjson\.gz$/
const noSuchKey = { statusCode: "404", code: "NoSuchKey", error: "not_found", message: "Object not found" }

/** What the source does wrong once is made up for; what it goes on doing wrong fails the run. */
const sourceFaults: ReadonlyArray<Case> = [
  onTheWay("source: cut at any byte", "source", (dice) => ({
    where: /\/stream$/,
    at: "body",
    after: dice.int(1, 7_000_000),
    what: "cut"
  })),
  ...["cut-mid-line", "cut-between-lines", "reset", "stall", "error-line", "gap", "duplicate-line"].map((fault) =>
    fromSource(fault, "succeeded")
  ),
  ...["wrong-total", "total-changes", "html", "oversized-line", "server-error", "maintenance"].map((fault) =>
    fromSource(fault, "succeeded")
  ),
  fromSource("rate-limited", "succeeded"),
  fromSource("rate-limited", "succeeded", { retryAfter: 1 }),
  fromSource("slow-drip", "succeeded", { at: 1400, delayMs: 2 }),
  fromSource("empty", "failed"),
  fromSource("refused", "failed"),
  fromSource("gap", "failed", { times: 60 }),
  fromSource("html", "failed", { times: 60 })
]

const terminate = (application: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ${application}`
  )

const databaseFault = (name: string, table: string, strike: NonNullable<Case["strike"]>): Case => ({
  name: `database: ${name}`,
  kind: "fault",
  begin: locked(table),
  strike,
  outcome: "succeeded"
})

/** What a statement timeout does (SQLSTATE 57014), at this moment and not at another. */
const timeout: NonNullable<Case["strike"]> = () =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'medipim-maintainer' AND wait_event_type = 'Lock'`
  )

const databaseFaults: ReadonlyArray<Case> = [
  databaseFault("connections killed while staging", "medipim.stage_products", () => terminate("medipim-%")),
  databaseFault("connections killed while publishing", "public.products", () => terminate("medipim-%")),
  databaseFault("statement cancelled while staging", "medipim.stage_products", timeout),
  databaseFault("statement cancelled while publishing", "public.products", timeout),
  databaseFault("crash while staging", "medipim.stage_products", (_, { open }) =>
    Effect.flatMap(House, ({ crashDatabase }) => Effect.andThen(crashDatabase, open))
  ),
  {
    name: "database: crash after staging",
    kind: "fault",
    begin: trapped("maintainer", { where: /^POST \/publish$/, at: "request" }),
    strike: () => Effect.flatMap(House, ({ crashDatabase }) => crashDatabase),
    outcome: "succeeded"
  },
  databaseFault("crash while publishing", "public.products", (_, { open }) =>
    Effect.flatMap(House, ({ crashDatabase }) => Effect.andThen(crashDatabase, open))
  )
]

const troubled = (...troubles: ReadonlyArray<Trouble>): Case => ({
  name: `storage: ${troubles.join(", ")}`,
  kind: "fault",
  begin: () =>
    Effect.tap(
      Effect.succeed(nowhere),
      Effect.map(House, ({ trouble }) => trouble(...troubles))
    ),
  outcome: "succeeded"
})

const storageFaults: ReadonlyArray<Case> = [
  troubled("unavailable", "answer-lost", "html", "slow-down"),
  onTheWay("storage: answer lost after a part was written", "store", () => ({
    where: storesPart,
    at: "answer",
    what: "cut"
  })),
  onTheWay("storage: part cut while it is read", "store", (dice) => ({
    where: readsPart,
    at: "body",
    after: dice.int(1, 100_000),
    what: "cut"
  })),
  onTheWay("storage: wrong bytes once", "store", () => ({ where: readsPart, at: "body", what: "flip" })),
  {
    ...onTheWay("storage: a part is missing", "store", () => ({
      where: readsPart,
      at: "request",
      what: { status: 400, body: JSON.stringify(noSuchKey) }
    })),
    outcome: "failed"
  }
]

/** `POST /runs/:id/cancel` ends the run at once; nothing is half done. */
const cancelled = (name: string, begin: Case["begin"]): Case => ({
  name: `cancel: ${name}`,
  kind: "cancel",
  begin,
  strike: Effect.fnUntraced(function* (runId) {
    const sql = yield* SqlClient
    const asked = performance.now()
    yield* post(`/runs/${runId}/cancel`)
    yield* sql<{ readonly status: string }>`SELECT status FROM medipim.sync_runs WHERE id = ${runId}`.pipe(
      Effect.repeat({ until: ([row]) => row?.status === "cancelled", schedule: Schedule.spaced("20 millis") })
    )
    const took = Math.round(performance.now() - asked)
    if (took > cancelWithin) return yield* Effect.fail(`the run was cancelled only after ${took} ms`)
  }),
  outcome: "cancelled"
})

/** SIGTERM, as every deploy sends it: the process ends by itself and the run goes on after the next start. */
const stopped = (victim: ServiceName, name: string, begin: Case["begin"]): Case => ({
  name: `SIGTERM: ${victim} ${name}`,
  kind: "stop",
  begin,
  strike: (_, { open }) => Effect.flatMap(House, ({ stop }) => Effect.andThen(open, stop(victim))),
  mend: Effect.flatMap(House, ({ launch }) => launch(victim)),
  outcome: "succeeded"
})

const streams = trapped("source", { where: /\/stream$/, at: "body", after: 1_000_000 })

export const faults: ReadonlyArray<Case> = [
  ...sourceFaults,
  ...databaseFaults,
  ...storageFaults,
  cancelled("while fetching", streams),
  cancelled("while staging", locked("medipim.stage_products")),
  cancelled("while publishing", locked("public.products")),
  stopped("fetcher", "while fetching", streams),
  stopped("maintainer", "while staging", locked("medipim.stage_products")),
  stopped("orchestrator", "while publishing", locked("public.products"))
]
