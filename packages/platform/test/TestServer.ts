import { request as httpRequest } from "node:http"
import { type AddressInfo, createServer } from "node:net"
import { AdminKey } from "@medipim/http-api/AdminKey"
import { RequestErrors } from "@medipim/http-api/InvalidRequest"
import { Effect, Exit, Layer, Logger, Metric, Option, Redacted, Schedule, Schema, Scope, Stream } from "effect"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import * as ApiServer from "../src/http/ApiServer.ts"
import * as NodeServer from "../src/http/NodeServer.ts"
import { Draining } from "../src/process/Draining.ts"

export const key = "the-right-key-of-more-than-32-characters"
export const wrong = "a-wrong-key-of-more-than-32-characters!!"

const Tick = Schema.TaggedStruct("Tick", { n: Schema.Int })
class Open extends HttpApiGroup.make("open", { topLevel: true }).add(
  HttpApiEndpoint.get("healthz", "/healthz", { success: Schema.Struct({ status: Schema.Literal("ok") }) })
) {}
class Guarded extends HttpApiGroup.make("guarded", { topLevel: true })
  .add(
    HttpApiEndpoint.post("echo", "/echo", {
      payload: Schema.Struct({ text: Schema.String }),
      success: Schema.Struct({ text: Schema.String })
    }),
    HttpApiEndpoint.get("events", "/events", { success: HttpApiSchema.StreamNdjson({ schema: Tick }) }),
    HttpApiEndpoint.get("broken", "/broken", { success: Schema.Struct({}) })
  )
  .middleware(AdminKey) {}
export class TestApi extends HttpApi.make("test").add(Open).add(Guarded).middleware(RequestErrors) {}

/** An event every 50 ms for two seconds: more than three times what a request may take. */
const ticks = Stream.range(1, 40).pipe(
  Stream.map((n) => Tick.make({ n })),
  Stream.schedule(Schedule.spaced("50 millis"))
)
const handlers = Layer.merge(
  HttpApiBuilder.group(TestApi, "open", (handlers) =>
    Effect.succeed(handlers.handleAll({ healthz: () => Effect.succeed({ status: "ok" } as const) }))
  ),
  HttpApiBuilder.group(TestApi, "guarded", (handlers) =>
    Effect.succeed(
      handlers.handleAll({
        echo: ({ payload }) => Effect.succeed(payload),
        events: () => Effect.succeed(ticks),
        broken: () => Effect.die(new Error("a bug"))
      })
    )
  )
)

const freePort = Effect.callback<number>((resume) => {
  const probe = createServer().listen(0, () => {
    const { port } = probe.address() as AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})

/** A real server with its metrics; `stop` does what SIGTERM does. */
export const started = Effect.fnUntraced(function* (
  limits: NodeServer.Limits = NodeServer.defaultLimits,
  flyAppName = Option.none<string>()
) {
  const [port, metricsPort] = [yield* freePort, yield* freePort]
  const config = {
    port,
    metricsPort,
    flyAppName,
    adminKey: Redacted.make(key),
    previousAdminKey: Option.none<Redacted.Redacted>()
  }
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  yield* ApiServer.layer(TestApi, config, limits).pipe(
    Layer.provide(handlers.pipe(Layer.provide(ApiServer.middlewareLayer(config)))),
    Layer.provide(Draining.layer),
    Layer.buildWithScope(scope),
    // Counters of its own: what another test has counted says nothing here.
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
  return { port, metricsPort, stop: Scope.close(scope, Exit.void) }
})

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
}

interface Question {
  readonly host?: string
  readonly method?: string
  readonly body?: string
  readonly headers?: Record<string, string>
}

/** An answer with its body as it came. */
export const askBytes = (port: number, path: string, headers: Record<string, string>, question: Question = {}) =>
  Effect.callback<Omit<Answer, "body"> & { readonly bytes: Buffer }, Error>((resume) => {
    const { host = "127.0.0.1", method = "GET", body } = question
    httpRequest({ host, port, path, method, headers, agent: false }, (answer) => {
      const pieces: Array<Buffer> = []
      answer.on("data", (piece: Buffer) => pieces.push(piece))
      answer.on("end", () =>
        resume(
          Effect.succeed({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            bytes: Buffer.concat(pieces)
          })
        )
      )
    })
      .on("error", (error) => resume(Effect.fail(error)))
      .end(body)
  })

export const ask = (port: number, path: string, question: Question = {}): Effect.Effect<Answer, Error> =>
  Effect.map(askBytes(port, path, question.headers ?? {}, question), ({ status, headers, bytes }) => ({
    status,
    headers,
    body: bytes.toString()
  }))

export const keyed = (value: string) => ({ headers: { "x-admin-key": value } })

export const heardOf = ({ text }: { readonly text: () => string }) =>
  Effect.sync(text).pipe(Effect.repeat({ until: (got) => got !== "", schedule: Schedule.spaced("10 millis") }))

/** Refusals are logged; here nobody reads that. */
export const inPeace = <A, E>(test: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(test).pipe(Effect.provide(Logger.layer([])))
