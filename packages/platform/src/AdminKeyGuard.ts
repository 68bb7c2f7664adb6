import { createHash, timingSafeEqual } from "node:crypto"
import { AdminKey, Unauthorized } from "@medipim/http-api/AdminKey"
import { Effect, Layer, Option, Redacted } from "effect"

// Digests have one length: comparing them tells nothing about the length of a key, and never throws.
const digest = (key: Redacted.Redacted): Buffer => createHash("sha256").update(Redacted.value(key)).digest()

const refusal = new Unauthorized({ message: "The X-ADMIN-KEY header is missing or wrong." })

/** Lets a request pass when its key is the current or the previous one; both are always compared, in constant time. */
export const layer = (keys: {
  readonly adminKey: Redacted.Redacted
  readonly previousAdminKey: Option.Option<Redacted.Redacted>
}): Layer.Layer<AdminKey> => {
  const accepted = [keys.adminKey, ...Option.toArray(keys.previousAdminKey)].map(digest)
  return Layer.succeed(AdminKey, {
    adminKey: (httpEffect, { credential }) => {
      const offered = digest(credential)
      const matches = accepted.map((key) => timingSafeEqual(key, offered))
      return matches.includes(true) ? httpEffect : Effect.fail(refusal)
    }
  })
}
