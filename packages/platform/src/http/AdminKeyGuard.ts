import { AdminKey, TooManyWrongKeys, Unauthorized } from "@medipim/http-api/AdminKey"
import { Effect, Layer, Metric, Option, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import { AdminKeys } from "./AdminKeys.ts"
import { clientAddress, clientNetwork } from "./ClientAddress.ts"
import * as WrongKeys from "./WrongKeys.ts"

type Reason = "missing" | "wrong" | "limited"

const failures = Metric.counter("medipim_authentication_failures", {
  description: "Requests refused for their admin key: none, a wrong one, or one of too many wrong ones",
  incremental: true
})
const count = (reason: Reason, n: number) => Metric.update(Metric.withAttributes(failures, { reason }), n)

/** The requests that came with a right key, as Node knows them. */
const admitted = new WeakSet<object>()
/** Whether a request came with a right key: only such a one is work. */
export const isAdmitted = (request: object): boolean => admitted.has(request)

/**
 * Lets a request pass when its key is the current or the previous one; both are always compared, in constant time. All
 * others are counted and, as long as they are few, logged with their address. A client that sends many wrong keys is answered 429.
 */
export const layer = (keys: {
  /** Set on Fly, where a proxy gives the address of the client. */
  readonly flyAppName: Option.Option<string>
}): Layer.Layer<AdminKey, never, AdminKeys> =>
  Layer.effect(
    AdminKey,
    Effect.gen(function* () {
      const adminKeys = yield* AdminKeys
      const wrongKeys = yield* WrongKeys.make
      // There from the start: an alert on a rise needs the zero before it.
      yield* Effect.forEach(["missing", "wrong", "limited"] as const, (reason) => count(reason, 0))

      const refuse = Effect.fnUntraced(function* (service: string, route: string, reason: "missing" | "wrong") {
        const request = yield* HttpServerRequest.HttpServerRequest
        const address = clientAddress({
          peer: Option.getOrElse(request.remoteAddress, () => "unknown"),
          flyClientIp: request.headers["fly-client-ip"],
          onFly: Option.isSome(keys.flyAppName)
        })
        const { missing, wrong, secondsLeft } = yield* wrongKeys.refused(clientNetwork(address), reason)
        const limited = reason === "wrong" && wrong > WrongKeys.burst
        yield* count(limited ? "limited" : reason, 1)
        if (missing + wrong <= WrongKeys.burst) {
          const last = missing + wrong === WrongKeys.burst
          const more = last ? `; more of them within ${secondsLeft} s are counted, not logged` : ""
          yield* Effect.logWarning(`Refused ${route}: ${reason} admin key${more}`).pipe(
            Effect.annotateLogs({ clientAddress: address, reason })
          )
        }
        if (limited) {
          return yield* new TooManyWrongKeys({
            message: `The ${service} refuses this X-ADMIN-KEY, and ${address} has sent too many wrong ones. Correct it before asking again.`,
            retryAfterSeconds: secondsLeft
          })
        }
        return yield* new Unauthorized({
          message:
            reason === "missing"
              ? `The ${service} asks for the header X-ADMIN-KEY.`
              : `The ${service} refuses this X-ADMIN-KEY: it is neither its ADMIN_KEY nor its ADMIN_KEY_PREVIOUS.`
        })
      })

      return AdminKey.of({
        adminKey: (httpEffect, { credential, endpoint, group }) => {
          if (adminKeys.includes(credential)) {
            return Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ source }) => {
              admitted.add(source)
              return httpEffect
            })
          }
          // The pattern of the route, not what was sent: callers cannot write to the log.
          const route = `${endpoint.method} ${endpoint.path}`
          return refuse(group.identifier, route, Redacted.value(credential) === "" ? "missing" : "wrong")
        }
      })
    })
  )
