import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { assert, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/local/TestDatabase"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { Replay } from "../src/Replay.ts"
import { beginRun, line, product, products, servicesOn, stagedRun, sync } from "./Fixture.ts"

/** What stands between the maintainer and its database. */
class Way extends Context.Service<
  Way,
  {
    /** Breaks the connection of the next commit once the database has done it; answers whether that came about. */
    readonly loseNextCommit: () => { readonly isLost: () => boolean }
  }
>()("maintainer/test/Way") {}

const way = Effect.gen(function* () {
  const { url } = yield* TestDatabase
  const address = new URL(Redacted.value(url))
  const { hostname, port: databasePort } = address
  let armed: { lost: boolean } | undefined
  const pass = (client: Socket) => {
    const server = connect(Number(databasePort), hostname)
    client.on("data", (bytes) => server.write(bytes))
    server.on("data", (bytes) => {
      // The word is in the answer to a commit alone.
      if (armed === undefined || !bytes.includes("COMMIT\0")) return client.write(bytes)
      armed.lost = true
      armed = undefined
      client.destroy()
    })
    const end = () => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) socket.on("close", end).on("error", end)
  }
  const proxy = createServer(pass)
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      proxy.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => proxy.close())
  )
  const { port } = proxy.address() as AddressInfo
  address.port = String(port)
  const loseNextCommit = () => {
    const mine = { lost: false }
    armed = mine
    return { isLost: () => mine.lost }
  }
  return Context.make(Way, Way.of({ loseNextCommit })).pipe(
    Context.add(TestDatabase, TestDatabase.of({ url: Redacted.make(address.href) }))
  )
})

const ways = Layer.effectContext(way).pipe(Layer.provide(TestDatabase.layer))

layer(servicesOn(ways).pipe(Layer.provideMerge(ways)), { excludeTestServices: true, timeout: "60 seconds" })(
  "A commit whose answer is lost",
  (it) => {
    it.effect("is the publish: it answers what it published", () =>
      Effect.gen(function* () {
        const { loseNextCommit } = yield* Way
        const { runId, snapshotId } = yield* stagedRun(products(10))
        const { isLost } = loseNextCommit()
        const { counts, published } = yield* (yield* Publish).run({ runId, snapshotId })
        assert.isTrue(isLost())
        assert.isTrue(published)
        assert.strictEqual(counts.inserted, 10)
      })
    )

    it.effect("is the replay: it answers what it published, once", () =>
      Effect.gen(function* () {
        const { loseNextCommit } = yield* Way
        const sql = yield* SqlClient
        yield* sync([...products(10), { ...product(10), publicPrice: "free" }], { force: true })
        const raw = new Uint8Array(Buffer.from(line(product(10), 10, 11).trimEnd()))
        yield* sql`UPDATE medipim.rejected_records SET raw = ${raw}`
        yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded'`
        const { isLost } = loseNextCommit()
        const { runId, ...result } = yield* (yield* Replay).run({})
        assert.isTrue(isLost())
        assert.isNotNull(runId)
        assert.deepInclude(result, { examined: 1, replayed: 1, stillRejected: 0 })
        const [told] = yield* sql`SELECT count(*)::int AS n FROM medipim.product_changes WHERE run_id = ${runId}`
        assert.deepStrictEqual(told, { n: 1 })
        // Nothing is left that keeps the next one from beginning.
        yield* beginRun()
      })
    )
  }
)
