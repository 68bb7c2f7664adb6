import { isIP } from "node:net"
import type { ConnectionOptions } from "node:tls"
import { Option } from "effect"
import { privateIPv4 } from "../http/PrivateAddresses.ts"

/** Loopback, private IPv4, and unique local IPv6, which Fly's private network is part of. */
const nearbyAddresses = privateIPv4()
nearbyAddresses.addSubnet("127.0.0.0", 8)
nearbyAddresses.addAddress("::1", "ipv6")
nearbyAddresses.addSubnet("fc00::", 7, "ipv6")

/** On this machine or its own network: a socket, a plain name as Docker gives them, a private name or address. */
const isNearby = (host: string): boolean => {
  const version = isIP(host)
  if (version !== 0) return nearbyAddresses.check(host, version === 6 ? "ipv6" : "ipv4")
  return !host.includes(".") || host.startsWith("/") || /\.(?:internal|flycast|local|localhost)$/i.test(host)
}

/**
 * How a connection to this database is encrypted; `undefined` leaves it to the driver. It takes a URL without `sslmode`
 * for one without TLS, and Supabase accepts that: prices would cross the internet in the clear. So what is not nearby is
 * always encrypted, unless the URL says `sslmode=disable`.
 *
 * `require` encrypts and, as in libpq, looks at the certificate only when there is an authority to check it by.
 * Supabase signs with its own (docs/security.md), so none of those that a system knows would do.
 */
export const databaseTls = (
  databaseUrl: string,
  authority: Option.Option<string>
): false | ConnectionOptions | undefined => {
  if (!URL.canParse(databaseUrl)) return undefined
  const { hostname, searchParams } = new URL(databaseUrl)
  const host = (searchParams.get("host") ?? hostname).replace(/^\[|\]$/g, "")
  const asked = searchParams.get("sslmode")
  // These let a man in the middle downgrade the connection to plain text.
  const isWeak = asked === null || asked === "prefer" || asked === "allow"
  const mode = isWeak && (Option.isSome(authority) || !isNearby(host)) ? "require" : asked
  const ca = Option.match(authority, { onNone: () => ({}), onSome: (pem) => ({ ca: pem }) })
  switch (mode) {
    case "disable":
      return false
    case "require":
      return { rejectUnauthorized: Option.isSome(authority), ...ca }
    case "verify-ca":
    case "verify-full":
      return { rejectUnauthorized: true, ...ca }
    default:
      return undefined
  }
}
