import { assert, describe, it } from "@effect/vitest"
import { clientAddress, clientNetwork } from "../src/http/ClientAddress.ts"

const proxy = "::ffff:172.19.4.10"
const neighbour = "fdaa:0:18:a7b:d6b:0:a:2"

describe("The address of a client", () => {
  it("is the other end of the socket, in one form for both kinds of servers", () => {
    for (const peer of ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:192.0.2.1"]) {
      assert.strictEqual(clientAddress({ peer, flyClientIp: undefined, onFly: false }), "192.0.2.1")
    }
    assert.strictEqual(clientAddress({ peer: neighbour, flyClientIp: undefined, onFly: true }), neighbour)
  })

  it("is what Fly's proxy says, when the proxy asks", () => {
    for (const told of ["203.0.113.9", "2001:db8::9"]) {
      assert.strictEqual(clientAddress({ peer: proxy, flyClientIp: told, onFly: true }), told)
    }
  })

  it("is never what a header says that came another way", () => {
    const flyClientIp = "203.0.113.9"
    assert.strictEqual(clientAddress({ peer: proxy, flyClientIp, onFly: false }), "172.19.4.10")
    assert.strictEqual(clientAddress({ peer: neighbour, flyClientIp, onFly: true }), neighbour)
    for (const peer of ["198.51.100.7", "127.0.0.1", "::1", "2001:db8::7", "unknown"]) {
      assert.strictEqual(clientAddress({ peer, flyClientIp, onFly: true }), peer)
    }
  })

  it("is the proxy's own when its header is no address", () => {
    for (const flyClientIp of [
      "",
      "somebody",
      "203.0.113.9, 203.0.113.10",
      "203.0.113.9:80",
      "203.0.113",
      "x".repeat(5000)
    ]) {
      assert.strictEqual(clientAddress({ peer: proxy, flyClientIp, onFly: true }), "172.19.4.10", flyClientIp)
    }
  })
})

describe("The network of a client", () => {
  it("is an IPv4 address, and the first half of an IPv6 address", () => {
    assert.strictEqual(clientNetwork("203.0.113.9"), "203.0.113.9")
    assert.strictEqual(clientNetwork("unknown"), "unknown")
    const one = "2001:db8:1:2::/64"
    for (const address of ["2001:db8:1:2::1", "2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:0db8:0001:0002::9"]) {
      assert.strictEqual(clientNetwork(address), one)
    }
    assert.notStrictEqual(clientNetwork("2001:db8:1:3::1"), one)
    assert.strictEqual(clientNetwork("::1"), "0:0:0:0::/64")
    assert.strictEqual(clientNetwork("fdaa::1:2:3:4:5"), "fdaa:0:0:1::/64")
    assert.strictEqual(clientNetwork("1:2:3:4:5:6:7:8"), "1:2:3:4::/64")
  })
})
