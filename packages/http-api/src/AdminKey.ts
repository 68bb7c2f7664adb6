import { described } from "@medipim/domain/Described"
import { Schema } from "effect"
import { HttpApiMiddleware, HttpApiSchema, HttpApiSecurity } from "effect/http-api"

/** The header that every route but health and documents asks for. */
export const adminKeyHeader = "x-admin-key"

/** The key is missing, or is neither the current nor the previous one. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()(
  "Unauthorized",
  { message: described(Schema.String, "Which header is expected.") },
  { httpApiStatus: 401 }
) {}

const tooManyWrongKeys = {
  message: described(Schema.String, "Why the key was not looked at."),
  retryAfterSeconds: described(Schema.Int, "Seconds until the next wrong key is answered with 401 again.")
}

/** Again a wrong key, from an address that has sent many. The right key passes from there all the same. */
export class TooManyWrongKeys extends Schema.TaggedError<TooManyWrongKeys>()("TooManyWrongKeys", tooManyWrongKeys) {}

/** On the wire the seconds to wait are also in the header that clients know. */
const withRetryAfter = TooManyWrongKeys.pipe(
  HttpApiSchema.encodeToWithHeaders(
    {
      body: Schema.TaggedStruct("TooManyWrongKeys", tooManyWrongKeys).pipe(HttpApiSchema.status(429)),
      headers: { "retry-after": Schema.FiniteFromString }
    },
    {
      decode: ({ body }) => new TooManyWrongKeys(body),
      encode: ({ _tag, message, retryAfterSeconds }) => ({
        body: { _tag, message, retryAfterSeconds },
        headers: { "retry-after": retryAfterSeconds }
      })
    }
  )
)

/** Guards a group of routes with the admin key. */
export class AdminKey extends HttpApiMiddleware.Service<AdminKey>()("http-api/AdminKey", {
  requiredForClient: true,
  security: { adminKey: HttpApiSecurity.apiKey({ key: "X-ADMIN-KEY", in: "header" }) },
  error: [Unauthorized, withRetryAfter]
}) {}
