import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { empty, products, services, stagedRun, sync } from "./Fixture.ts"
import { dropTrigger, trigger, withObjects } from "./OwnersFixture.ts"

const rows = Effect.flatMap(
  SqlClient,
  (sql) => sql<{ readonly id: string; readonly xmin: string; readonly removed: boolean }>`
    SELECT id, xmin::text, removed_at IS NOT NULL AS removed FROM public.products ORDER BY id`
)

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
  /** The publish of a batch is refused with this message, and every row stays as it was. */
  const stops = Effect.fnUntraced(function* (
    [make, drop]: readonly [make: ReadonlyArray<string>, drop: ReadonlyArray<string>],
    batch: Parameters<typeof sync>[0],
    named: RegExp
  ) {
    yield* empty
    yield* sync(products(200))
    const before = yield* rows
    const refusal = Effect.gen(function* () {
      assert.match(refused(yield* Effect.flip(sync(batch))), named)
      assert.deepStrictEqual(yield* rows, before)
    })
    yield* withObjects(make, drop, refusal)
  })
  for (const [what, { make, drop, named }] of Object.entries(swallows)) {
    it.effect(`stops the publish when rows are not there as they were written: ${what}`, () =>
      Effect.gen(function* () {
        yield* stops([make, drop], changed, named)
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
      const named =
        /1 products that did not change are missing in the table, or were removed \(for example M000000003\)\. On the table are: trigger/
      for (const objects of takes) yield* stops(objects, seven, named)
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
