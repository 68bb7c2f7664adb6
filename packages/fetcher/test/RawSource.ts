import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { SnapshotId } from "@medipim/domain/Ids"
import { allStatuses } from "@medipim/domain/MediPim"
import * as FolderStore from "@medipim/platform/store/FolderStore"
import { temporaryFolder } from "@medipim/testing/TemporaryFolder"
import { Context, Effect, Layer, Redacted } from "effect"
import { Checkpoints } from "../src/Checkpoints.ts"
import { Download } from "../src/Download.ts"
import * as MediPimHttp from "../src/MediPimHttp.ts"
import type { LeastRate } from "../src/RecordRate.ts"
import { Snapshots } from "../src/Snapshots.ts"

export type Answer = (response: ServerResponse, request: IncomingMessage) => unknown

/** A source that answers with any bytes, as a real server does. */
export class RawSource extends Context.Service<
  RawSource,
  {
    readonly url: string
    /** What the next requests get, one each; the last one for ever. */
    readonly answers: (...answers: ReadonlyArray<Answer>) => void
    /** The headers of each request. */
    readonly seen: () => ReadonlyArray<IncomingMessage["headers"]>
  }
>()("fetcher/test/RawSource") {
  static readonly layer = Layer.effect(
    RawSource,
    Effect.acquireRelease(
      Effect.callback<{ readonly service: RawSource["Service"]; readonly close: () => void }>((resume) => {
        let next: Array<Answer> = []
        const seen: Array<IncomingMessage["headers"]> = []
        const server = createServer((request, response) => {
          seen.push(request.headers)
          response.on("error", () => {})
          const answer = next.length > 1 ? next.shift() : next[0]
          request.resume().on("end", () => answer?.(response, request))
        })
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          const service = RawSource.of({
            url: `http://127.0.0.1:${port}/v4/products/stream`,
            answers: (...answers) => {
              next = [...answers]
              seen.length = 0
            },
            seen: () => seen
          })
          const close = () => {
            server.close()
            server.closeAllConnections()
          }
          resume(Effect.succeed({ service, close }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ).pipe(Effect.map(({ service }) => service))
  )
}

/** The bytes of a whole answer. */
export const sends =
  (body: string | Buffer, headers: Readonly<Record<string, string>> = {}, status = 200): Answer =>
  (response) => {
    response.writeHead(status, headers).end(body)
  }

export const line = (index: number, total: number, more: object = {}): string =>
  JSON.stringify({
    meta: { total, index },
    result: { id: `M${index}`, ...more, meta: { createdAt: 1_700_000_000 + index, updatedAt: 1_700_000_000 } }
  })
export const lines = (total: number): ReadonlyArray<string> => Array.from({ length: total }, (_, n) => line(n, total))

const folder = Layer.unwrap(Effect.map(temporaryFolder("raw"), FolderStore.layer))

/** A fetcher without its HTTP that asks this source. */
export const downloads = (setting: { readonly partBytes?: number; readonly rate?: LeastRate } = {}) =>
  Download.layer({
    filter: allStatuses,
    ...(setting.partBytes === undefined ? {} : { partBytes: setting.partBytes }),
    ...setting.rate
  }).pipe(
    Layer.provideMerge([Snapshots.layer, Checkpoints.layer]),
    Layer.provideMerge(
      Layer.unwrap(
        Effect.map(RawSource, ({ url }) =>
          MediPimHttp.layer({
            url,
            keyId: "7",
            keySecret: Redacted.make("a-secret-for-tests-only"),
            requestTimeout: 5000,
            userAgent: "MediPim-AU-Sync/0 (someone@example.org)"
          })
        )
      )
    ),
    Layer.provide(NodeHttpClient.layerUndici),
    Layer.provideMerge([RawSource.layer, folder])
  )

let serial = 0
export const download = Effect.flatMap(Download, ({ run }) =>
  run(SnapshotId.make(`20261126T020000Z-${String(++serial).padStart(8, "0")}`), () => Effect.void)
)
