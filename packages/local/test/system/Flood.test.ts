import { connect, type Socket } from "node:net"
import { assert, layer } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { adminKey, sync, TestStack } from "./TestStack.ts"

/** With `MEDIPIM_FLOOD_SECONDS=60` it takes a minute and logs how much memory the services took. */
const seconds = Number(process.env.MEDIPIM_FLOOD_SECONDS ?? 10)

/** Megabytes that a service may take meanwhile: half of its machine on Fly, and less than a quarter of the maintainer's. */
const most = { FETCHER_URL: 256, MAINTAINER_URL: 450, ORCHESTRATOR_URL: 256 } as const
const services = ["FETCHER_URL", "MAINTAINER_URL", "ORCHESTRATOR_URL"] as const
const openRoutes = ["/docs", "/openapi.json", "/healthz", "/readyz", "/nowhere"]

/** Sockets that ask several times without waiting, on every open route, and never read; closed ones are opened again. */
const flood = Effect.fnUntraced(function* (addresses: ReadonlyArray<string>) {
  const sockets = new Set<Socket>()
  const closeAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  yield* Effect.addFinalizer(() => Effect.sync(closeAll))
  const open = (port: number, path: string, times: number) => {
    const socket: Socket = connect(port, "127.0.0.1", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(times))
    )
    sockets.add(socket.pause())
    socket.on("error", () => {}).on("close", () => sockets.delete(socket))
  }
  const wave = Effect.sync(() => {
    closeAll()
    for (const address of addresses) {
      const port = Number(new URL(address).port)
      for (let n = 0; n < 200; n++) open(port, openRoutes[n % openRoutes.length] ?? "/", 5)
      for (let n = 0; n < 30; n++) open(port, openRoutes[n % openRoutes.length] ?? "/", 6)
    }
  })
  // As often as the services cut those who do not read.
  yield* wave.pipe(Effect.repeat(Schedule.spaced("20 seconds")), Effect.forkScoped)
})

layer(TestStack.layer(3000), { excludeTestServices: true, timeout: "60 seconds" })("A flood", (it) => {
  it.effect(
    "without a key keeps nobody with a key from being served, nor a sync from its end",
    () =>
      Effect.gen(function* () {
        const { addresses, metricsPort } = yield* TestStack
        const urls = services.map((service) => addresses[service] ?? "")
        const ask = (url: string) =>
          Effect.promise(async () => {
            const headers = { "x-admin-key": adminKey, connection: "close" }
            const answer = await fetch(url, { headers, signal: AbortSignal.timeout(5000) })
            return { status: answer.status, text: await answer.text() }
          })
        const peaks = [0, 0, 0]
        const look = Effect.gen(function* () {
          for (const [n, url] of urls.entries()) {
            assert.strictEqual((yield* ask(`${url}/status`)).status, 200)
            assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
            const { text } = yield* ask(`http://localhost:${metricsPort + n}/metrics`)
            const bytes = Number(/^process_resident_memory_bytes (\d+)/m.exec(text)?.[1])
            peaks[n] = Math.max(peaks[n] ?? 0, bytes / 1024 / 1024)
          }
        })
        yield* flood(urls)
        const looking = look.pipe(
          Effect.andThen(Effect.sleep("200 millis")),
          Effect.forever,
          Effect.timeoutOption(`${seconds} seconds`)
        )
        const [run] = yield* Effect.all([sync(), looking], { concurrency: 2 })
        assert.deepInclude(run, { status: "succeeded", published: true }, run.failure?.message)
        for (const [n, service] of services.entries()) {
          assert.isAbove(peaks[n] ?? 0, 0)
          assert.isBelow(peaks[n] ?? 0, most[service], `${service} took ${peaks.map(Math.round).join(", ")} MB`)
        }
        if (process.env.MEDIPIM_FLOOD_SECONDS !== undefined)
          yield* Effect.logInfo("Megabytes at most", peaks.map(Math.round))
      }).pipe(Effect.scoped),
    (60 + seconds) * 1000
  )
})
