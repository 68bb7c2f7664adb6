import { createHash, timingSafeEqual } from "node:crypto"
import { Context, Layer, Option, Redacted } from "effect"

// Digests have one length: comparing them reveals nothing about the length of a key, and never throws.
const digest = (key: Redacted.Redacted): Buffer => createHash("sha256").update(Redacted.value(key)).digest()

/** The admin keys of a service: the current one and, during a rotation, the previous one. */
export class AdminKeys extends Context.Service<
  AdminKeys,
  {
    /** Compares with all keys, in constant time. */
    readonly includes: (offered: Redacted.Redacted) => boolean
  }
>()("platform/AdminKeys") {
  static readonly layer = (keys: {
    readonly adminKey: Redacted.Redacted
    readonly previousAdminKey: Option.Option<Redacted.Redacted>
  }) => {
    const accepted = [keys.adminKey, ...Option.toArray(keys.previousAdminKey)].map(digest)
    return Layer.succeed(
      AdminKeys,
      AdminKeys.of({
        includes: (offered) => {
          const found = digest(offered)
          return accepted.map((key) => timingSafeEqual(key, found)).includes(true)
        }
      })
    )
  }
}
