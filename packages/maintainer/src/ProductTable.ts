import type { RunId } from "@medipim/domain/Ids"
import { columnNames, columnTypes } from "@medipim/domain/ProductColumns"
import {
  isOfValues,
  isoTime,
  retriedOutsideTransaction,
  retryDatabaseOutage,
  rowAs,
  rowsAs
} from "@medipim/platform/database/Postgres"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { CountedColumns, columnsOf, countsByColumn } from "./ColumnCounts.ts"
import type { Known } from "./Decision.ts"

/** Rows that are not as they should be. */
const Wrong = Schema.Struct({ rows: Schema.Int, example: Schema.String })

const Named = Schema.Struct({ id: Schema.String })
const SearchPath = Schema.Struct({ path: Schema.String })
const ForeignObject = Schema.Struct({ what: Schema.String })

/** What was found when the tables were read again after a write. */
export interface ReadBack {
  /** Why the tables do not hold what the run wrote, or what it left as it was. */
  readonly unwritten: string | undefined
  /** What a person should know of values that are not the ones that were written. */
  readonly warnings: ReadonlyArray<string>
}

const names = columnNames.join(", ")
/** All columns that are written, except when and by which run. */
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
const some = "AND id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])"
const upsertAll = upsert("")
const upsertSome = upsert(some)

/** The history of the rows that come, and of those that change. Each document is opened once, whatever its number of keys. */
const histories = (only: string): ReadonlyArray<string> => [
  `INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
  SELECT run_id, id, change, pg_catalog.now() FROM medipim.stage_products
  WHERE run_id OPERATOR(pg_catalog.=) $1::pg_catalog.text AND change OPERATOR(pg_catalog.=) 'inserted'::pg_catalog.text ${only}`,
  `INSERT INTO medipim.product_changes (run_id, product_id, change, changed_keys, before, changed_at)
  SELECT s.run_id, s.id, s.change, d.keys, d.before, pg_catalog.now()
  FROM (
    SELECT * FROM medipim.stage_products WHERE run_id OPERATOR(pg_catalog.=) $1::pg_catalog.text
      AND change OPERATOR(pg_catalog.<>) 'inserted'::pg_catalog.text ${only}
  ) AS s JOIN public.products AS p ON p.id OPERATOR(pg_catalog.=) s.id, LATERAL (
    SELECT coalesce(pg_catalog.array_agg(coalesce(o.key, n.key) ORDER BY coalesce(o.key, n.key)), '{}') AS keys,
      pg_catalog.jsonb_object_agg(o.key, o.value) FILTER (WHERE o.value IS NOT NULL) AS before
    FROM pg_catalog.jsonb_each(p.raw) AS o FULL JOIN pg_catalog.jsonb_each(s.raw) AS n ON o.key OPERATOR(pg_catalog.=) n.key
    WHERE (o.value OPERATOR(pg_catalog.=) n.value) IS NOT TRUE
  ) AS d`
]
const historiesOfAll = histories("")
const historiesOfSome = histories(some)

const historyOfRemoved = `INSERT INTO medipim.product_changes (run_id, product_id, change, changed_at)
  SELECT $1::pg_catalog.text, id, 'removed', pg_catalog.now() FROM pg_catalog.unnest($2::pg_catalog.text[]) AS id`

const markRemoved = `UPDATE public.products
  SET removed_at = pg_catalog.now(), changed_at = pg_catalog.now(), last_run_id = $1::pg_catalog.text
  WHERE id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])`

/** What Supabase's SQL editor has, and Postgres but for the last one. */
const usualPath = '"$user", public, extensions'

/** `public.products` and its history. What writes, and what reads for a write, belongs in the transaction of a publish. */
export class ProductTable extends Context.Service<
  ProductTable,
  {
    /** What the catalogue holds of these products, by id; for staging. */
    readonly lookup: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, Known>, SqlError>
    /** The products of the catalogue that no line of the run names. */
    readonly missing: (runId: RunId) => Effect.Effect<ReadonlyArray<string>, SqlError>
    /** Writes the staged rows and their history; `ids` takes some of them. */
    readonly write: (runId: RunId, ids?: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
    /** Marks products as removed, with their history. */
    readonly remove: (runId: RunId, ids: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
    /** Reads the tables again: the rows that the run wrote and removed, their history, and the rows that it left as they were. */
    readonly readBack: (runId: RunId, removed: ReadonlyArray<string>) => Effect.Effect<ReadBack, SqlError>
    /** Triggers, rules and policies of the table and types of columns that this system did not create. */
    readonly foreignObjects: Effect.Effect<ReadonlyArray<string>, SqlError>
  }
>()("maintainer/ProductTable") {
  static readonly layer = Layer.effect(
    ProductTable,
    Effect.gen(function* () {
      const sql = yield* SqlClient

      const lookup = Effect.fn("ProductTable.lookup")(
        function* (ids: ReadonlyArray<string>) {
          const rows = yield* sql<Known>`SELECT id, content_hash, line_hash, removed_at IS NOT NULL AS removed,
          ${sql.literal(isoTime("medipim_updated_at"))} AS updated_at
          FROM public.products WHERE id = ANY(${ids}::text[])`
          return new Map(rows.map((row) => [row.id, row]))
        },
        retriedOutsideTransaction(sql, retryDatabaseOutage)
      )

      /** A rejected line that names its product keeps it: the source still has it. */
      const missing = Effect.fn("ProductTable.missing")(function* (runId: RunId) {
        const rows = yield* sql`SELECT id FROM public.products WHERE removed_at IS NULL
          EXCEPT SELECT unnest(ids || unchanged) FROM medipim.stage_batches WHERE run_id = ${runId}
          EXCEPT SELECT product_id FROM medipim.rejected_records WHERE run_id = ${runId}`.pipe(rowsAs(Named))
        return rows.map(({ id }) => id)
      })

      /**
       * The search path of the database's owner, who works in the SQL editor: the setting of that role, or of the
       * database. Ours may be another one, which keeps our own names safe.
       */
      const ownersPath = sql`
        SELECT substr(setting, length('search_path=') + 1) AS path
        FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.datname = current_database(), unnest(s.setconfig) AS setting
        WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, d.datdba) AND setting LIKE 'search\\_path=%'
        ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1`.pipe(
        rowsAs(SearchPath),
        Effect.map(([row]) => row?.path ?? usualPath)
      )

      /** Does this with the names of the owner's world, deferred triggers included; ours are back afterwards. */
      const inOwnersPath = Effect.fnUntraced(function* <A, E>(write: Effect.Effect<A, E>) {
        const path = yield* ownersPath
        const ours = yield* sql`SELECT current_setting('search_path') AS path`.pipe(rowAs(SearchPath))
        yield* sql`SELECT set_config('search_path', ${path}, true)`
        yield* write
        // What was put off until the commit happens now, and is read back. What comes later may be put off again.
        yield* sql`SET CONSTRAINTS ALL IMMEDIATE`
        yield* sql`SET CONSTRAINTS ALL DEFERRED`
        yield* sql`SELECT pg_catalog.set_config('search_path', ${ours.path}, true)`
      })

      const write = Effect.fn("ProductTable.write")(function* (runId: RunId, ids?: ReadonlyArray<string>) {
        const [statements, parameters] =
          ids === undefined
            ? [[...historiesOfAll, upsertAll], [runId]]
            : [
                [...historiesOfSome, upsertSome],
                [runId, ids]
              ]
        yield* inOwnersPath(
          Effect.forEach(statements, (statement) => sql.unsafe(statement, parameters), { discard: true })
        )
      })

      const remove = Effect.fn("ProductTable.remove")(function* (runId: RunId, ids: ReadonlyArray<string>) {
        yield* inOwnersPath(
          Effect.forEach([markRemoved, historyOfRemoved], (statement) => sql.unsafe(statement, [runId, ids]), {
            discard: true
          })
        )
      })

      const describe = (what: string, { rows, example }: typeof Wrong.Type): ReadonlyArray<string> =>
        rows === 0 ? [] : [`${rows} ${what} (for example ${example})`]

      const unwritten = Effect.fnUntraced(function* (runId: RunId, removed: ReadonlyArray<string>) {
        const changed = yield* sql`
          SELECT count(*)::int AS rows, coalesce(min(s.id), '') AS example
          FROM medipim.stage_products AS s LEFT JOIN public.products AS p
            ON p.id = s.id AND p.content_hash = s.content_hash AND p.last_run_id = s.run_id AND p.removed_at IS NULL
          WHERE s.run_id = ${runId} AND p.id IS NULL`.pipe(rowAs(Wrong))
        const gone = yield* sql`
          SELECT count(*)::int AS rows, coalesce(min(r.id), '') AS example
          FROM unnest(${removed}::text[]) AS r(id) LEFT JOIN public.products AS p
            ON p.id = r.id AND p.last_run_id = ${runId} AND p.removed_at IS NOT NULL
          WHERE p.id IS NULL`.pipe(rowAs(Wrong))
        const missingHistory = yield* sql`
          SELECT count(*)::int AS rows, coalesce(min(w.id), '') AS example
          FROM (SELECT id FROM medipim.stage_products WHERE run_id = ${runId} UNION ALL SELECT unnest(${removed}::text[]))
            AS w(id) LEFT JOIN medipim.product_changes AS c ON c.run_id = ${runId} AND c.product_id = w.id
          WHERE c.id IS NULL`.pipe(rowAs(Wrong))
        const missing = yield* sql`
          SELECT count(*)::int AS rows, coalesce(min(id), '') AS example
          FROM (
            SELECT unnest(ids || unchanged) AS id FROM medipim.stage_batches WHERE run_id = ${runId}
            EXCEPT SELECT id FROM medipim.stage_products WHERE run_id = ${runId}
            EXCEPT SELECT id FROM public.products WHERE removed_at IS NULL
          ) AS missing`.pipe(rowAs(Wrong))
        return [
          ...describe("products are not in the table as they were written", changed),
          ...describe("products were not removed", gone),
          ...describe("products that did not change are missing in the table, or were removed", missing),
          ...describe("changes are missing in medipim.product_changes", missingHistory)
        ]
      })

      const types = new Map<string, string>([...columnTypes, ["line_hash", "text"]])
      // A column of another type is compared as what it should hold; that may not be possible.
      const comparison = countsByColumn(
        written,
        (column) => `p.${column}::${types.get(column)} IS DISTINCT FROM s.${column}`,
        "s.id"
      )
      const rewritten = Effect.fnUntraced(function* (runId: RunId) {
        const found = yield* sql
          .unsafe(
            `SELECT ${comparison} FROM medipim.stage_products AS s JOIN public.products AS p USING (id) WHERE s.run_id = $1`,
            [runId]
          )
          .pipe(rowAs(CountedColumns))
        return columnsOf(written, found).map(
          ({ column, rows, example }) => `${column} of ${rows} products (for example ${example})`
        )
      })
      const incomparable = ["columns of another type, whose values cannot be compared"]

      const foreignObjects = sql`
        SELECT 'trigger ' || tgname AS what FROM pg_trigger
          WHERE tgrelid = 'public.products'::regclass AND NOT tgisinternal AND tgenabled <> 'D'
        UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = 'public.products'::regclass
        UNION ALL SELECT 'column ' || attname || ' of type ' || format_type(atttypid, atttypmod)
          FROM pg_attribute JOIN unnest(${[...types.keys()]}::text[], ${[...types.values()]}::text[]) AS ours(name, type)
            ON attname = name
          WHERE attrelid = 'public.products'::regclass AND (atttypid <> type::regtype OR atttypmod <> -1)
        UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = 'public.products'::regclass
        UNION ALL SELECT 'forced row level security' FROM pg_class
          WHERE oid = 'public.products'::regclass AND relforcerowsecurity
        ORDER BY what`.pipe(
        rowsAs(ForeignObject),
        Effect.map((rows) => rows.map(({ what }) => what)),
        Effect.withSpan("ProductTable.foreignObjects")
      )

      const readBack = Effect.fn("ProductTable.readBack")(function* (runId: RunId, removed: ReadonlyArray<string>) {
        const wrong = yield* unwritten(runId, removed)
        const theirs = yield* foreignObjects
        const listed = theirs.length === 0 ? "" : ` On the table are: ${theirs.join(", ")}.`
        if (wrong.length > 0) return { unwritten: `${wrong.join("; ")}.${listed}`, warnings: [] }
        // Without them nothing stands between what is written and what is stored.
        const other =
          theirs.length === 0
            ? []
            : yield* sql
                .withTransaction(rewritten(runId))
                .pipe(Effect.catchIf(isOfValues, () => Effect.succeed(incomparable)))
        return {
          unwritten: undefined,
          warnings:
            other.length === 0 ? [] : [`The table does not hold what was written: ${other.join(", ")}.${listed}`]
        }
      })

      return ProductTable.of({ lookup, missing, write, remove, readBack, foreignObjects })
    })
  )
}
