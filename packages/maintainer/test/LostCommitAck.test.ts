import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { assert, layer } from "@effect/vitest"
import { TestDatabase } from "@medipim/testing/TestDatabase"
import { Context, Effect, Fiber, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Publish } from "../src/Publish.ts"
import { Replay } from "../src/Replay.ts"
import { beginRun, empty, line, product, products, servicesOn, stagedRun, sync, unstorable } from "./Fixture.ts"

/** What stands between the maintainer and its database. */
class Way extends Context.Service<
  Way,
  {
    /** Breaks the connection of the next commit once the database has done it; answers whether that came about. */
    readonly loseNextCommit: () => { readonly isLost: () => boolean }
    /** Breaks all connections; the database goes on with what it does for them. */
    readonly cut: Effect.Effect<void>
  }
>()("maintainer/test/Way") {}

const way = Effect.gen(function* () {
  const { url } = yield* TestDatabase
  const address = new URL(Redacted.value(url))
  const { hostname, port: databasePort } = address
  let armed: { lost: boolean } | undefined
  const clients = new Set<Socket>()
  const pass = (client: Socket) => {
    clients.add(client)
    const server = connect(Number(databasePort), hostname)
    client.on("data", (bytes) => server.write(bytes))
    server.on("data", (bytes) => {
      // The word is in the answer to a commit alone.
      if (armed === undefined || !bytes.includes("COMMIT\0")) return client.write(bytes)
      armed.lost = true
      armed = undefined
      client.destroy()
    })
    client.on("close", () => clients.delete(client))
    server.on("close", () => client.destroy())
    for (const socket of [client, server]) socket.on("error", () => {})
    client.on("end", () => server.end())
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
  const cut = Effect.sync(() => {
    for (const client of clients) client.destroy()
  })
  return Context.make(Way, Way.of({ loseNextCommit, cut })).pipe(
    Context.add(TestDatabase, TestDatabase.of({ url: Redacted.make(address.href) }))
  )
})

const ways = Layer.effectContext(way).pipe(Layer.provide(TestDatabase.layer))

/** One line waits that was rejected, and can be read by now. */
const replayable = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* empty
  yield* sync([...products(10), { ...product(10), ...unstorable }], { force: true })
  const raw = new Uint8Array(Buffer.from(line(product(10), 10, 11).trimEnd()))
  yield* sql`UPDATE medipim.rejected_records SET raw = ${raw}, line_bytes = ${raw.length}`
  yield* sql`UPDATE medipim.sync_runs SET status = 'succeeded'`
})

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
        yield* replayable
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

    it.effect("is the replay, also when it is asked again while the commit is on its way", () =>
      Effect.gen(function* () {
        const { cut } = yield* Way
        const sql = yield* SqlClient
        yield* replayable
        // A commit waits for a standby that is not there.
        yield* sql`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`
        yield* sql`SELECT pg_reload_conf()`
        const replaying = yield* Effect.forkScoped((yield* Replay).run({}))
        const waiting = (event: string, query: string) =>
          sql`SELECT FROM pg_stat_activity WHERE wait_event = ${event} AND query LIKE ${query}`.pipe(
            Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("20 millis") })
          )
        yield* waiting("SyncRep", "COMMIT")
        yield* cut
        yield* waiting("transactionid", "%INSERT INTO medipim.sync_runs%").pipe(
          Effect.retry(Schedule.spaced("100 millis"))
        )
        yield* sql`ALTER SYSTEM RESET synchronous_standby_names`
        yield* sql`SELECT pg_reload_conf()`
        const { runId, replayed } = yield* Fiber.join(replaying)
        assert.isNotNull(runId)
        assert.strictEqual(replayed, 1)
        const told = sql`SELECT run_id FROM medipim.product_changes WHERE product_id = ${product(10).id}`
        assert.deepStrictEqual(yield* told, [{ run_id: runId }])
      }).pipe(Effect.scoped)
    )
  }
)
