import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Schedule, Scope } from "effect"
import { type Program, start } from "../../src/Program.ts"

/**
 * A machine of Fly and the proxy before it: a request to its public address starts the machine and waits for it, and
 * nothing else does. When its process ends, it stays stopped.
 */
export const machine = Effect.fnUntraced(function* (program: Program, logDir: string) {
  const scope = yield* Effect.scope
  const run = Effect.runPromiseWith(yield* Effect.context())
  const ends: Array<string> = []
  let starts = 0
  let running: Promise<void> | undefined
  const boot = Effect.gen(function* () {
    const { died } = yield* start({ ...program, name: `${program.name}-${starts++}` }, logDir).pipe(
      Scope.provide(scope)
    )
    const ended = Effect.catch(died, ({ message }) =>
      Effect.sync(() => {
        running = undefined
        ends.push(message.split("\n", 1).join())
      })
    )
    yield* Effect.forkIn(ended, scope)
  })
  const wake = (): Promise<void> => {
    running ??= run(Effect.orDie(boot))
    return running
  }
  const proxy = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((_, response) => {
        wake().then(() => response.end())
      }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    wake: Effect.promise(wake),
    starts: () => starts,
    /** How its processes ended, in words. */
    ends: () => ends,
    /** Waits until it is stopped. */
    asleep: Effect.sync(() => running === undefined).pipe(
      Effect.repeat({ until: (stopped) => stopped, schedule: Schedule.spaced("50 millis") })
    )
  }
})
