import { assert, layer } from "@effect/vitest"
import { currentWaits } from "@medipim/platform/Outage"
import { Deferred, Effect, Fiber, Option, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { empty, products, services, stagedRun, sync } from "./Fixture.ts"

const rows = Effect.flatMap(
  SqlClient,
  (sql) => sql<{ readonly id: string; readonly xmin: string; readonly removed: boolean }>`
    SELECT id, xmin::text, removed_at IS NOT NULL AS removed FROM public.products ORDER BY id`
)

/** Objects of the owner of the project, made as in the SQL editor, for as long as the work takes. */
const withObjects = <A, E, R>(make: ReadonlyArray<string>, drop: ReadonlyArray<string>, work: Effect.Effect<A, E, R>) =>
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

const trigger = (body: string, when: string, timing = "BEFORE", event = "INSERT OR UPDATE") => [
  `CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} END $$`,
  `CREATE TRIGGER shop_trigger ${timing} ${event} ON public.products FOR EACH ROW ${when} EXECUTE FUNCTION theirs()`
]
const dropTrigger = ["DROP FUNCTION public.theirs() CASCADE"]

const refused = (error: { readonly _tag: string; readonly message: string; readonly reason?: unknown }) => {
  assert.deepInclude(error, { _tag: "PublishRefused", reason: "not-written" })
  return error.message
}

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("What a trigger, rule or policy does", (it) => {
  const changed = products(200).map((one) => ({ ...one, publicPrice: 5000 }))
  const isSeven = "WHEN (NEW.id = 'M000000007')"

  const swallows: Readonly<
    Record<
      string,
      { readonly make: ReadonlyArray<string>; readonly drop: ReadonlyArray<string>; readonly named: RegExp }
    >
  > = {
    "a trigger that returns null": {
      make: trigger("RETURN NULL;", isSeven),
      drop: dropTrigger,
      named:
        /1 products are not in the table as they were written \(for example M000000007\)\. On the table are: trigger shop_trigger/
    },
    "a trigger that puts the old row back": {
      make: trigger("RETURN OLD;", isSeven, "BEFORE", "UPDATE"),
      drop: dropTrigger,
      named: /trigger shop_trigger/
    },
    "a trigger that writes another hash": {
      make: trigger("NEW.content_hash := 'theirs'; RETURN NEW;", isSeven),
      drop: dropTrigger,
      named: /M000000007.*trigger shop_trigger/
    },
    "a deferred trigger that deletes the row in the end": {
      make: [
        "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM products WHERE id = NEW.id; RETURN NULL; END $$",
        `CREATE CONSTRAINT TRIGGER shop_trigger AFTER INSERT OR UPDATE ON public.products DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW ${isSeven} EXECUTE FUNCTION theirs()`
      ],
      drop: dropTrigger,
      named: /M000000007.*trigger shop_trigger/
    },
    "a trigger that drops the history": {
      make: [
        "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        `CREATE TRIGGER shop_trigger BEFORE INSERT ON medipim.product_changes FOR EACH ROW
          WHEN (NEW.product_id = 'M000000007') EXECUTE FUNCTION theirs()`
      ],
      drop: dropTrigger,
      named: /1 changes are missing in medipim\.product_changes \(for example M000000007\)/
    }
  }
  for (const [what, { make, drop, named }] of Object.entries(swallows)) {
    it.effect(`stops the publish when rows are not there as they were written: ${what}`, () =>
      Effect.gen(function* () {
        yield* empty
        yield* sync(products(200))
        const before = yield* rows
        yield* withObjects(
          make,
          drop,
          Effect.gen(function* () {
            assert.match(refused(yield* Effect.flip(sync(changed))), named)
            assert.deepStrictEqual(yield* rows, before)
          })
        )
        assert.strictEqual((yield* sync(changed)).counts.updated, 200)
      })
    )
  }

  it.effect("stops the publish when a product that did not change is gone, whoever took it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const seven = products(200).map((one, n) => (n === 7 ? { ...one, publicPrice: 5000 } : one))
      const takes: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
        [trigger("DELETE FROM products WHERE id = 'M000000003'; RETURN NULL;", isSeven, "AFTER"), dropTrigger],
        [
          trigger("UPDATE products SET removed_at = now() WHERE id = 'M000000003'; RETURN NULL;", isSeven, "AFTER"),
          dropTrigger
        ]
      ]
      for (const [make, drop] of takes) {
        yield* empty
        yield* sync(products(200))
        const before = yield* rows
        yield* withObjects(
          make,
          drop,
          Effect.gen(function* () {
            assert.match(
              refused(yield* Effect.flip(sync(seven))),
              /1 products that did not change are missing in the table, or were removed \(for example M000000003\)\. On the table are: trigger/
            )
            assert.deepStrictEqual(yield* rows, before)
          })
        )
      }
      // Between the two steps of a run.
      const { runId, snapshotId } = yield* stagedRun(seven)
      yield* sql`DELETE FROM public.products WHERE id = 'M000000003'`
      const { run } = yield* Publish
      assert.match(
        refused(yield* Effect.flip(run({ runId, snapshotId }))),
        /1 products that did not change are missing .*M000000003\)\.$/
      )
      assert.deepInclude((yield* sync(seven)).counts, { inserted: 1, updated: 1, unchanged: 198 })
    })
  )

  it.effect("stops the publish when a removal is swallowed", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(200))
      yield* withObjects(
        trigger("RETURN NULL;", "WHEN (NEW.removed_at IS NOT NULL)", "BEFORE", "UPDATE"),
        dropTrigger,
        Effect.gen(function* () {
          const message = refused(yield* Effect.flip(sync(products(199))))
          assert.match(message, /1 products were not removed \(for example M000000199\).*trigger shop_trigger/)
          assert.isFalse((yield* rows)[199]?.removed)
        })
      )
    })
  )

  it.effect("stops the publish with the message of Postgres when a rule forbids the write", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(200))
      const before = yield* rows
      yield* withObjects(
        ["CREATE RULE shop_rule AS ON UPDATE TO public.products DO INSTEAD NOTHING"],
        ["DROP RULE shop_rule ON public.products"],
        Effect.gen(function* () {
          const error = yield* Effect.flip(sync(changed))
          assert.strictEqual(error._tag, "WriteFailed")
          assert.match(error.message, /ON CONFLICT.*rule shop_rule/)
          assert.deepStrictEqual(yield* rows, before)
        })
      )
    })
  )

  it.effect("is a warning when a trigger rewrites our columns", () =>
    Effect.gen(function* () {
      yield* empty
      yield* withObjects(
        trigger("NEW.name := upper(NEW.name); RETURN NEW;", isSeven),
        dropTrigger,
        Effect.gen(function* () {
          const { published, warnings } = yield* sync(products(200))
          assert.isTrue(published)
          assert.deepStrictEqual(warnings, [
            "The table does not hold what was written: name of 1 products (for example M000000007). On the table are: trigger shop_trigger."
          ])
        })
      )
    })
  )

  it.effect("is a warning when a column of another type holds another value, and none when it holds the same", () =>
    Effect.gen(function* () {
      yield* empty
      const before = yield* rows
      assert.deepStrictEqual(before, [])
      yield* withObjects(
        [
          "ALTER TABLE public.products ALTER vat TYPE numeric(6,1), ALTER name TYPE varchar(300), ALTER status TYPE char(9)",
          "ALTER TABLE public.products ALTER public_price_cents TYPE bigint"
        ],
        [
          "ALTER TABLE public.products ALTER vat TYPE numeric, ALTER name TYPE text, ALTER status TYPE text",
          "ALTER TABLE public.products ALTER public_price_cents TYPE int"
        ],
        Effect.gen(function* () {
          const { published, warnings } = yield* sync(
            products(200).map((one, n) => ({ ...one, status: "in-active", vat: n === 7 ? "12.55" : "10.0" }))
          )
          assert.isTrue(published)
          assert.deepStrictEqual(warnings, [
            "The table does not hold what was written: vat of 1 products (for example M000000007). On the table are: " +
              "column name of type character varying(300), column public_price_cents of type bigint, " +
              "column status of type character(9), column vat of type numeric(6,1)."
          ])
        })
      )
    })
  )

  it.effect("is a warning when a column of another type holds what cannot be compared", () =>
    Effect.gen(function* () {
      yield* empty
      const price = "ALTER TABLE public.products ALTER public_price_cents TYPE"
      yield* withObjects(
        [
          `${price} text`,
          ...trigger("NEW.public_price_cents := NEW.public_price_cents || ' ct'; RETURN NEW;", isSeven)
        ],
        [...dropTrigger, "TRUNCATE public.products", `${price} int USING public_price_cents::int`],
        Effect.gen(function* () {
          const { published, warnings } = yield* sync(products(200))
          assert.isTrue(published)
          assert.deepStrictEqual(warnings, [
            "The table does not hold what was written: columns of another type, whose values cannot be compared. On the " +
              "table are: column public_price_cents of type text, trigger shop_trigger."
          ])
        })
      )
    })
  )

  it.effect("is named with the product when it raises an error, and so is a constraint", () =>
    Effect.gen(function* () {
      const failing: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>, RegExp]> = [
        [
          ["CREATE UNIQUE INDEX shop_barcode ON public.products (ean_gtin13)"],
          ["DROP INDEX public.shop_barcode"],
          /product M000000150: UniqueViolation: duplicate key .*shop_barcode.*Key \(ean_gtin13\)=\(9300000000011\)/
        ],
        [
          ["CREATE INDEX shop_name ON public.products (name)"],
          ["DROP INDEX public.shop_name"],
          /product M000000033: .*index row/
        ],
        [
          ["ALTER TABLE public.products ADD CONSTRAINT shop_price CHECK (public_price_cents <> 133)"],
          ["ALTER TABLE public.products DROP CONSTRAINT shop_price"],
          /product M000000033: .*shop_price/
        ],
        [
          trigger("IF NEW.id = 'M000000033' THEN RAISE EXCEPTION 'not in our shop'; END IF; RETURN NEW;", ""),
          dropTrigger,
          /product M000000033: .*not in our shop\..*trigger shop_trigger/
        ]
      ]
      // No compression makes it fit.
      const name = Array.from({ length: 9000 }, (_, n) => String.fromCodePoint(0x4e00 + ((n * 7919) % 20_000))).join("")
      const sources = products(200).map((one, n) => ({
        ...one,
        ...(n === 33 ? { name: { en: name } } : {}),
        ...(n === 20 || n === 150 ? { eanGtin13: "9300000000011" } : {})
      }))
      for (const [make, drop, told] of failing) {
        yield* empty
        yield* withObjects(
          make,
          drop,
          Effect.gen(function* () {
            const error = yield* Effect.flip(sync(sources))
            assert.strictEqual(error._tag, "WriteFailed")
            assert.match(error.message, told)
            // The search for the product has left nothing.
            assert.deepStrictEqual(yield* rows, [])
            const sql = yield* SqlClient
            assert.deepStrictEqual(yield* sql`SELECT FROM medipim.product_changes`, [])
          })
        )
      }
    })
  )

  it.effect("is reported without a product when a lock ends the search for it", () =>
    Effect.gen(function* () {
      yield* empty
      yield* withObjects(
        [
          "CREATE SEQUENCE public.shop_calls",
          ...trigger(
            `IF nextval('public.shop_calls') > 1 THEN RAISE EXCEPTION 'busy' USING ERRCODE = '55P03'; END IF;
            RAISE EXCEPTION 'not in our shop';`,
            isSeven
          )
        ],
        [...dropTrigger, "DROP SEQUENCE public.shop_calls"],
        Effect.gen(function* () {
          const { _tag, message } = yield* Effect.flip(sync(products(200)))
          assert.strictEqual(_tag, "WriteFailed")
          assert.include(message, "not in our shop")
          // The half without the product that fails would have been named wrongly.
          assert.notMatch(message, /product M/)
          const sql = yield* SqlClient
          // The first write, and one of the search.
          assert.deepStrictEqual(yield* sql`SELECT last_value::int AS calls FROM public.shop_calls`, [{ calls: 2 }])
          assert.deepStrictEqual(yield* rows, [])
        })
      )
    })
  )
})

layer(services, { excludeTestServices: true, timeout: "60 seconds" })(
  "Objects of the owner find what they find in the SQL editor",
  (it) => {
    it.effect("a trigger, an index on a function, a generated column, a deferred trigger", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* empty
        yield* withObjects(
          [
            "CREATE SCHEMA IF NOT EXISTS extensions",
            "CREATE FUNCTION extensions.from_extension() RETURNS text LANGUAGE sql AS 'SELECT ''there'''",
            "CREATE TABLE public.product_audit (id text, note text)",
            "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO product_audit VALUES (NEW.id, from_extension()); RETURN NULL; END $$",
            "CREATE TRIGGER shop_audit AFTER INSERT OR UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION theirs()",
            "CREATE TABLE public.change_audit (note text)",
            "CREATE FUNCTION public.of_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO change_audit VALUES (from_extension()); RETURN NULL; END $$",
            "CREATE TRIGGER shop_changes AFTER INSERT ON medipim.product_changes FOR EACH ROW EXECUTE FUNCTION of_changes()",
            "CREATE CONSTRAINT TRIGGER shop_later AFTER INSERT ON public.products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION theirs()",
            "CREATE FUNCTION public.my_unaccent(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT translate(t, ''éü'', ''eu'')'",
            "CREATE FUNCTION public.f_unaccent(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN my_unaccent(t); END $$",
            "CREATE INDEX shop_plain ON public.products (f_unaccent(name))",
            "ALTER TABLE public.products ADD COLUMN plain_name text GENERATED ALWAYS AS (f_unaccent(name)) STORED"
          ],
          [
            "ALTER TABLE public.products DROP COLUMN plain_name",
            "DROP FUNCTION public.f_unaccent(text) CASCADE",
            "DROP FUNCTION public.my_unaccent(text) CASCADE",
            ...dropTrigger,
            "DROP FUNCTION public.of_changes() CASCADE",
            "DROP TABLE public.product_audit, public.change_audit",
            "DROP SCHEMA extensions CASCADE"
          ],
          Effect.gen(function* () {
            const first = yield* sync(products(100).map((one) => ({ ...one, name: { en: "Café" } })))
            assert.deepInclude(first, { published: true, warnings: [] })
            yield* sync(products(99).map((one) => ({ ...one, name: { en: "Müsli" } })))
            assert.deepStrictEqual(
              yield* sql`SELECT plain_name AS name, count(*)::int AS n FROM public.products GROUP BY 1 ORDER BY 1`,
              [
                { name: "Cafe", n: 1 },
                { name: "Musli", n: 99 }
              ]
            )
            // 100 inserted by two triggers; 99 updated and one removed by one.
            assert.deepStrictEqual(yield* sql`SELECT note, count(*)::int AS n FROM public.product_audit GROUP BY 1`, [
              { note: "there", n: 300 }
            ])
            assert.deepStrictEqual(yield* sql`SELECT note, count(*)::int AS n FROM public.change_audit GROUP BY 1`, [
              { note: "there", n: 200 }
            ])
          })
        )
      })
    )

    it.effect("and the search path of the owner is the one of that role, or of the database", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* empty
        const audit = trigger("INSERT INTO audit_of_shop VALUES (NEW.id); RETURN NULL;", "", "AFTER")
        yield* withObjects(
          [
            "CREATE SCHEMA shop",
            "CREATE TABLE shop.audit_of_shop (id text)",
            ...audit,
            "ALTER DATABASE postgres SET search_path = shop, public"
          ],
          [...dropTrigger, "DROP SCHEMA shop CASCADE", "ALTER DATABASE postgres RESET search_path"],
          Effect.gen(function* () {
            yield* sync(products(50))
            assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM shop.audit_of_shop`, [{ n: 50 }])
          })
        )
      })
    )

    it.effect("while ours cannot be shadowed by theirs", () =>
      Effect.gen(function* () {
        yield* empty
        yield* withObjects(
          [
            // Each fits our call better than the one of Postgres, or has its very name.
            "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''1970-01-01''::timestamptz'",
            "CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''shadow'''",
            "CREATE FUNCTION public.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
            "CREATE FUNCTION public.text_never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
            "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.text_never)",
            "CREATE FUNCTION public.jsonb_always(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR public.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.jsonb_always)",
            "CREATE FUNCTION public.jsonb_each(jsonb) RETURNS TABLE (key text, value jsonb) LANGUAGE sql AS 'SELECT ''shadow'', ''1''::jsonb'",
            "CREATE TABLE public.sync_runs (id text)",
            "CREATE TABLE public.stage_products (id text)",
            "ALTER DATABASE postgres SET search_path = public, pg_catalog"
          ],
          [
            "ALTER DATABASE postgres RESET search_path",
            "DROP TABLE public.stage_products, public.sync_runs",
            "DROP OPERATOR public.= (text, text), public.= (jsonb, jsonb)",
            "DROP FUNCTION public.jsonb_always(jsonb, jsonb), public.jsonb_each(jsonb)",
            "DROP FUNCTION public.text_never(text, text), public.count(text), public.unnest(text[]), public.now()"
          ],
          Effect.gen(function* () {
            const sql = yield* SqlClient
            assert.deepInclude((yield* sync(products(100))).counts, { inserted: 100 })
            const changed = products(99).map((one, n) => (n === 7 ? { ...one, publicPrice: 5000 } : one))
            assert.deepInclude((yield* sync(changed)).counts, { unchanged: 98, updated: 1, removed: 1 })
            assert.deepStrictEqual(
              yield* sql`SELECT product_id AS id, changed_keys AS keys, before FROM medipim.product_changes WHERE change = 'updated'`,
              [{ id: "M000000007", keys: ["publicPrice"], before: { publicPrice: 107 } }]
            )
            const [young] = yield* sql`SELECT bool_and(changed_at > '2020-01-01') AS all FROM public.products`
            assert.deepStrictEqual(young, { all: true })
          })
        )
      })
    )
  }
)

layer(services, { excludeTestServices: true, timeout: "60 seconds" })("A lock of somebody else", (it) => {
  /** Holds a lock in a transaction of its own until the scope closes. */
  const hold = Effect.fnUntraced(function* (statement: string) {
    const sql = yield* SqlClient
    const isHeld = yield* Deferred.make<void>()
    yield* Effect.forkScoped(
      sql.withTransaction(
        Effect.andThen(sql.unsafe(statement), Effect.andThen(Deferred.succeed(isHeld, undefined), Effect.never))
      )
    )
    yield* Deferred.await(isHeld)
  })

  it.effect("on the staging tables, as a backup or an open table view has it, holds nothing up", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const staged = yield* stagedRun(products(40))
      yield* hold("LOCK medipim.stage_products, medipim.stage_batches IN ACCESS SHARE MODE")
      const { counts } = yield* (yield* Publish).run(staged).pipe(Effect.timeout("10 seconds"))
      assert.deepInclude(counts, { inserted: 10, unchanged: 30 })
      const sql = yield* SqlClient
      // Nobody waits for that.
      yield* sql`SELECT FROM medipim.stage_products UNION ALL SELECT FROM medipim.stage_batches`.pipe(
        Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("50 millis") }),
        Effect.timeout("20 seconds")
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is not asked for to give the space of what was staged back", () =>
    Effect.gen(function* () {
      yield* empty
      const sql = yield* SqlClient
      const givenBack = sql`SELECT FROM pg_class
        WHERE oid IN ('medipim.stage_products'::regclass, 'medipim.stage_batches'::regclass) AND pg_relation_size(oid) > 0`.pipe(
        Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("50 millis") }),
        Effect.timeoutOption("5 seconds")
      )
      // While Postgres analyses a table by itself, deleted rows keep their space until the next sync.
      const found = yield* sync(products(3000)).pipe(
        Effect.andThen(givenBack),
        Effect.repeat({ until: Option.isSome, times: 5 })
      )
      assert.isTrue(Option.isSome(found))
    })
  )

  it.effect("on the products is waited for, and shown with who holds it", () =>
    Effect.gen(function* () {
      yield* empty
      yield* sync(products(30))
      const staged = yield* stagedRun(products(31))
      const publishing = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* hold("LOCK public.products IN SHARE MODE")
          const fiber = yield* Effect.forkDetach((yield* Publish).run(staged))
          const [wait] = yield* currentWaits.pipe(
            Effect.repeat({ until: (waits) => waits.length > 0, schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("20 seconds")
          )
          assert.strictEqual(wait?.what, "a lock in the database")
          assert.match(
            wait?.reason ?? "",
            /^process \d+ \(medipim-maintainer-test, role postgres, in a transaction since 20.*\) holds it$/
          )
          return fiber
        })
      )
      assert.deepInclude((yield* Fiber.join(publishing)).counts, { inserted: 1 })
      assert.deepStrictEqual(yield* currentWaits, [])
    })
  )
})
