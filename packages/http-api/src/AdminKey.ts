import { Schema } from "effect"
import { HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"

/** The header that every route but health and documents asks for. */
export const adminKeyHeader = "x-admin-key"

export class Unauthorized extends Schema.TaggedError<Unauthorized>()(
  "Unauthorized",
  { message: Schema.String },
  { httpApiStatus: 401 }
) {}

/** Guards a group of routes with the admin key. */
export class AdminKey extends HttpApiMiddleware.Service<AdminKey>()("http-api/AdminKey", {
  requiredForClient: true,
  security: { adminKey: HttpApiSecurity.apiKey({ key: "X-ADMIN-KEY", in: "header" }) },
  error: Unauthorized
}) {}
