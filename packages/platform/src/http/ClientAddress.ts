import { isIPv4, isIPv6, SocketAddress } from "node:net"
import { privateIPv4 } from "./PrivateAddresses.ts"

const proxies = privateIPv4()

/** A server on `::` sees an IPv4 caller as `::ffff:192.0.2.1`. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "")

/**
 * Who sent a request, as far as it can be known. `peer` is the other end of the socket.
 *
 * Fly's proxy sends the client's address in `Fly-Client-IP`, replaces what a client wrote there, and reaches a machine over private
 * IPv4; a neighbour on the private network (`.internal`) comes over IPv6 (docs/decisions/0014). So the header is believed
 * on Fly only, and only from a private IPv4 address. Everywhere else any caller can forge it.
 */
export const clientAddress = (request: {
  readonly peer: string
  readonly flyClientIp: string | undefined
  readonly onFly: boolean
}): string => {
  const peer = plain(request.peer)
  const claimed = plain(request.flyClientIp ?? "")
  const fromProxy = request.onFly && isIPv4(peer) && proxies.check(peer)
  return fromProxy && (isIPv4(claimed) || isIPv6(claimed)) ? claimed : peer
}

/** Eight groups of an IPv6 address, written out. */
const groups = (address: string): ReadonlyArray<string> => {
  const text = new SocketAddress({ address, family: "ipv6" }).address
  const [head = "", tail] = text.split("::")
  const before = head === "" ? [] : head.split(":")
  const after = tail === undefined || tail === "" ? [] : tail.split(":")
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => "0"), ...after]
}

/**
 * What is counted as one client: an IPv4 address, or the 64 bits of an IPv6 address that name a network, because one
 * customer has all addresses below them.
 */
export const clientNetwork = (address: string): string =>
  isIPv6(address) ? `${groups(address).slice(0, 4).join(":")}::/64` : address
