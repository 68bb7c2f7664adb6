import type { RunId } from "@medipim/domain/Ids"
import { columnNames } from "@medipim/domain/ProductColumns"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type CountedColumns, columnsOf, countsByColumn } from "./ColumnCounts.ts"

/** What the table does not hold though it was written. */
export interface Unwritten {
  readonly rows: number
  readonly example: string
}

const names = columnNames.join(", ")
/** All that is written but what tells the writing: when, and by which run. */
const written = [...columnNames, "line_hash"] as const

/**
 * Every name is written out, down to the operators: while this runs, names are looked up as those who own the triggers
 * of the table expect, and an object of theirs must not take the place of one of Postgres.
 */
const upsert = (only: string): string => `INSERT INTO public.products AS p
    (${names}, line_hash, first_seen_at, changed_at, last_run_id)
  SELECT ${names}, line_hash, pg_catalog.now(), pg_catalog.now(), run_id
  FROM medipim.stage_products WHERE run_id OPERATOR(pg_catalog.=) $1::pg_catalog.text ${only}
  ON CONFLICT (id) DO UPDATE SET (${names}, line_hash, changed_at, last_run_id, removed_at) =
    (${columnNames.map((name) => `EXCLUDED.${name}`).join(", ")},
      EXCLUDED.line_hash, EXCLUDED.changed_at, EXCLUDED.last_run_id, NULL)`
const upsertAll = upsert("")
const upsertSome = upsert("AND id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])")

const markRemoved = `UPDATE public.products
  SET removed_at = pg_catalog.now(), changed_at = pg_catalog.now(), last_run_id = $1::pg_catalog.text
  WHERE id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])`

/** What Supabase's SQL editor has, and Postgres but for the last one. */
const usualPath = '"$user", public, extensions'

/** `public.products` as one publish writes it: every method belongs in its transaction. */
export class ProductTable extends Context.Service<
  ProductTable,
  {
    /** Writes the staged rows and their history; `ids` takes some of them. */
    readonly write: (runId: RunId, ids?: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
    /** Marks products as removed, with their history. */
    readonly remove: (runId: RunId, ids: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
    /** Reads back what a run wrote: the rows that are not there as staged, of `products` or of their history. */
    readonly unwritten: (runId: RunId, removed: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, SqlError>
    /** Columns whose values are not the staged ones: somebody else's trigger has rewritten them. */
    readonly rewritten: (runId: RunId) => Effect.Effect<ReadonlyArray<string>, SqlError>
    /** Triggers, rules and policies of the table, none of which is ours. */
    readonly interference: Effect.Effect<ReadonlyArray<string>, SqlError>
  }
>()("maintainer/ProductTable") {
  static readonly layer = Layer.effect(
    ProductTable,
    Effect.gen(function* () {
      const sql = yield* SqlClient

      /**
       * The search path of the database's owner, who works in the SQL editor: the setting of that role, or of the
       * database. Ours may be another one, which keeps our own names safe.
       */
      const ownersPath = sql<{ readonly path: string }>`
        SELECT substr(setting, length('search_path=') + 1) AS path
        FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.datname = current_database(), unnest(s.setconfig) AS setting
        WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, d.datdba) AND setting LIKE 'search\\_path=%'
        ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1`.pipe(Effect.map(([row]) => row?.path ?? usualPath))

      /** Does this with the names of the owner's world, deferred triggers included; ours are back afterwards. */
      const inOwnersPath = Effect.fnUntraced(function* <A, E>(write: Effect.Effect<A, E>) {
        const path = yield* ownersPath
        const [ours] = yield* sql<{ readonly path: string }>`SELECT current_setting('search_path') AS path`
        yield* sql`SELECT set_config('search_path', ${path}, true)`
        yield* write
        // What was put off until the commit happens now, and is read back. What comes later may be put off again.
        yield* sql`SET CONSTRAINTS ALL IMMEDIATE`
        yield* sql`SET CONSTRAINTS ALL DEFERRED`
        yield* sql`SELECT pg_catalog.set_config('search_path', ${ours?.path ?? ""}, true)`
      })

      const write = Effect.fn("ProductTable.write")(function* (runId: RunId, ids?: ReadonlyArray<string>) {
        const some = ids === undefined ? sql`` : sql`AND id = ANY(${ids}::text[])`
        yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
          SELECT run_id, id, change, now() FROM medipim.stage_products
          WHERE run_id = ${runId} AND change = 'inserted' ${some}`
        // Each document is opened once, whatever its number of keys.
        yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_keys, before, changed_at)
          SELECT s.run_id, s.id, s.change, d.keys, d.before, now()
          FROM (SELECT * FROM medipim.stage_products WHERE run_id = ${runId} AND change <> 'inserted' ${some}) AS s
          JOIN public.products AS p USING (id), LATERAL (
            SELECT coalesce(array_agg(key ORDER BY key), '{}') AS keys,
              jsonb_object_agg(key, o.value) FILTER (WHERE o.value IS NOT NULL) AS before
            FROM jsonb_each(p.raw) AS o FULL JOIN jsonb_each(s.raw) AS n USING (key)
            WHERE o.value IS DISTINCT FROM n.value
          ) AS d`
        yield* inOwnersPath(ids === undefined ? sql.unsafe(upsertAll, [runId]) : sql.unsafe(upsertSome, [runId, ids]))
      })

      const remove = Effect.fn("ProductTable.remove")(function* (runId: RunId, ids: ReadonlyArray<string>) {
        yield* inOwnersPath(sql.unsafe(markRemoved, [runId, ids]))
        yield* sql`INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
          SELECT ${runId}, id, 'removed', now() FROM unnest(${ids}::text[]) AS id`
      })

      const describe = (what: string, { rows, example }: Unwritten): ReadonlyArray<string> =>
        rows === 0 ? [] : [`${rows} ${what} (for example ${example})`]

      const unwritten = Effect.fn("ProductTable.unwritten")(function* (runId: RunId, removed: ReadonlyArray<string>) {
        const [changed] = yield* sql<Unwritten>`
          SELECT count(*)::int AS rows, coalesce(min(s.id), '') AS example
          FROM medipim.stage_products AS s LEFT JOIN public.products AS p
            ON p.id = s.id AND p.content_hash = s.content_hash AND p.last_run_id = s.run_id AND p.removed_at IS NULL
          WHERE s.run_id = ${runId} AND p.id IS NULL`
        const [gone] = yield* sql<Unwritten>`
          SELECT count(*)::int AS rows, coalesce(min(r.id), '') AS example
          FROM unnest(${removed}::text[]) AS r(id) LEFT JOIN public.products AS p
            ON p.id = r.id AND p.last_run_id = ${runId} AND p.removed_at IS NOT NULL
          WHERE p.id IS NULL`
        const [untold] = yield* sql<Unwritten>`
          SELECT count(*)::int AS rows, coalesce(min(w.id), '') AS example
          FROM (SELECT id FROM medipim.stage_products WHERE run_id = ${runId} UNION ALL SELECT unnest(${removed}::text[]))
            AS w(id) LEFT JOIN medipim.product_changes AS c ON c.run_id = ${runId} AND c.product_id = w.id
          WHERE c.id IS NULL`
        const nothing: Unwritten = { rows: 0, example: "" }
        return [
          ...describe("products are not in the table as they were written", changed ?? nothing),
          ...describe("products were not removed", gone ?? nothing),
          ...describe("changes are missing in medipim.product_changes", untold ?? nothing)
        ]
      })

      const comparison = countsByColumn(written, (column) => `p.${column} IS DISTINCT FROM s.${column}`, "s.id")
      const rewritten = Effect.fn("ProductTable.rewritten")(function* (runId: RunId) {
        const [found = { counts: [], examples: [] }] = yield* sql.unsafe<CountedColumns>(
          `SELECT ${comparison} FROM medipim.stage_products AS s JOIN public.products AS p USING (id) WHERE s.run_id = $1`,
          [runId]
        )
        return columnsOf(written, found).map(
          ({ column, rows, example }) => `${column} of ${rows} products (for example ${example})`
        )
      })

      const interference = sql<{ readonly what: string }>`
        SELECT 'trigger ' || tgname AS what FROM pg_trigger
          WHERE tgrelid = 'public.products'::regclass AND NOT tgisinternal AND tgenabled <> 'D'
        UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = 'public.products'::regclass
        UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = 'public.products'::regclass
        UNION ALL SELECT 'forced row level security' FROM pg_class
          WHERE oid = 'public.products'::regclass AND relforcerowsecurity
        ORDER BY what`.pipe(
        Effect.map((rows) => rows.map(({ what }) => what)),
        Effect.withSpan("ProductTable.interference")
      )

      return ProductTable.of({ write, remove, unwritten, rewritten, interference })
    })
  )
}
