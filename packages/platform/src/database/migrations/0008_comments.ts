import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

/** The comment of the table contradicted that of its column, and that of `vat` said more than the documentation of MediPim. */
export const comments = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`COMMENT ON TABLE public.products IS 'The MediPim AU catalogue, one row a product, kept in step by MediPim AU Sync. Rows are never deleted: removed_at is set once a complete catalogue lacks the product'`
  yield* sql`COMMENT ON COLUMN public.products.vat IS 'rate of GST as sent (result.vat); MediPim does not say whether 10 % is 10 or 0.1'`
})
