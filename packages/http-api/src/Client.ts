import { setTimeout } from "node:timers/promises"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Run } from "@medipim/domain/Run"
import type { SyncOptions } from "@medipim/domain/SyncOptions"
import { type Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { OrchestratorClient } from "./Clients.ts"
import type { OrchestratorStatus, RunEvent, SyncStarted } from "./OrchestratorApi.ts"

interface Cancellable {
  readonly signal?: AbortSignal
}

/**
 * The orchestrator for scripts that do not know Effect. Every function rejects with the typed errors of the API
 * (`SyncRunning`, `RunNotFound`, `InvalidRequest`, `Unauthorized`, `TooManyWrongKeys`, `Unavailable`: look at `_tag`), or with
 * `HttpClientError` when nothing answers; options that cannot be right reject with `SchemaError` before anything is sent.
 * Call `close` at the end: until then connections are kept open.
 */
export interface Client extends AsyncDisposable {
  /** Starts a sync. Rejects with `SyncRunning` and the id of the other one while one runs. */
  readonly sync: (options?: SyncOptions) => Promise<typeof SyncStarted.Type>
  readonly status: () => Promise<OrchestratorStatus>
  /** Newest first; 20 unless said otherwise. */
  readonly runs: (options?: { readonly limit?: number }) => Promise<ReadonlyArray<Run>>
  readonly run: (runId: string) => Promise<Run>
  readonly cancel: (runId: string) => Promise<Run>
  /** News of a run until it has ended. One that ends without `Finished` was lost on the way: ask again. */
  readonly events: (runId: string) => AsyncIterable<RunEvent>
  /** The run once it has ended, whatever its status. Survives lost connections and restarts of the service. */
  readonly waitFor: (runId: string, options?: Cancellable) => Promise<Run>
  readonly close: () => Promise<void>
}

const lookEveryMillis = 2000

/** `baseUrl` without a path, for example `https://orchestrator.internal:3003`. */
export const createClient = (address: { readonly baseUrl: string; readonly adminKey: string }): Client => {
  const { baseUrl, adminKey } = address
  const runtime = ManagedRuntime.make(
    OrchestratorClient.layer({ baseUrl, adminKey: Redacted.make(adminKey) }).pipe(
      Layer.provide(NodeHttpClient.layerUndici)
    )
  )
  type Service = OrchestratorClient["Service"]
  const ask = <A, E>(request: (client: Service) => Effect.Effect<A, E>): Promise<A> =>
    runtime.runPromise(OrchestratorClient.use(request))
  const run = (id: string) => ask((client) => client.run({ params: { id } }))

  const isUnreachable = (error: unknown): boolean =>
    ["HttpClientError", "Unavailable"].includes((error as { readonly _tag?: string })._tag ?? "")

  return {
    sync: (options = {}) => ask((client) => client.sync({ payload: options })),
    status: () => ask((client) => client.status()),
    runs: async (options = {}) => (await ask((client) => client.runs({ query: options }))).runs,
    run,
    cancel: (id) => ask((client) => client.cancel({ params: { id } })),
    events: async function* (id) {
      const context = await runtime.context()
      const events = await ask((client) => client.events({ params: { id } }))
      yield* Stream.toAsyncIterableWith(events, context)
    },
    waitFor: async (id, { signal } = {}) => {
      while (true) {
        signal?.throwIfAborted()
        const now = await run(id).catch((error: unknown) => {
          if (isUnreachable(error)) return undefined
          throw error
        })
        if (now !== undefined && now.status !== "running") return now
        // An abort ends the pause; the top of the loop throws its reason.
        await setTimeout(lookEveryMillis, undefined, { signal }).catch(() => {})
      }
    },
    close: () => runtime.dispose(),
    [Symbol.asyncDispose]: () => runtime.dispose()
  }
}
