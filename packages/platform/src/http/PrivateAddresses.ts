import { BlockList } from "node:net"

/** The blocks of RFC 1918, section 3. */
const subnets = [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16]
] as const

/** A list with the private IPv4 addresses in it. */
export const privateIPv4 = (): BlockList => {
  const list = new BlockList()
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix)
  return list
}
