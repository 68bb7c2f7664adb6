import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { RunId } from "@medipim/domain/Ids"
import { noProgress, type Run } from "@medipim/domain/Run"
import { afterAll, beforeAll } from "vitest"
import { commandLine, outputOf } from "./ProgramOutput.ts"
import { adminKey } from "./TestStack.ts"

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

export const json = (body: unknown, status = 200): Answer => ({
  status,
  type: "application/json",
  body: JSON.stringify(body)
})

/** What it answers, and how often it was asked. */
interface Told {
  answer: Answer
  /** Of some routes, which go before it. */
  routes: Readonly<Record<string, Answer>>
  /** Sent again and again, without an end, when it is not empty. */
  stream: string
  asked: number
}

/** A service that answers whatever the tests of a file want, and the command line that takes it for ours. */
export const anyService = () => {
  const told: Told = { answer: json({}), routes: {}, stream: "", asked: 0 }
  const server = createServer(({ url = "" }, response) => {
    told.asked++
    const { status, type, body } = told.routes[url.split("?")[0] ?? ""] ?? told.answer
    response.writeHead(status, { "content-type": type })
    if (told.stream === "") return response.end(body)
    const again = setInterval(() => response.write(told.stream), 50)
    response.once("close", () => clearInterval(again))
  })
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, resolve))
  })
  afterAll(() => {
    server.close()
  })
  const address = () => `http://localhost:${(server.address() as AddressInfo).port}`
  const environment = (more: Readonly<Record<string, string>> = {}) => {
    const { PATH, HOME } = process.env
    return { PATH, HOME, ADMIN_KEY: adminKey, ORCHESTRATOR_URL: address(), MAINTAINER_URL: address(), ...more }
  }
  return {
    told,
    address,
    environment,
    medipim: (line: string, more?: Readonly<Record<string, string>>) =>
      outputOf(process.execPath, [...commandLine, ...line.split(" ")], { env: environment(more) }),
    /** As a person types it. */
    npm: (line: string) => outputOf("npm", ["run", ...line.split(" ")], { env: environment() })
  }
}

export const runId = "20200101T000000Z-00000000"
/** While it fetches. */
export const aRun: Run = {
  runId: RunId.make(runId),
  mode: "full",
  options: {},
  status: "running",
  phase: "fetching",
  snapshotId: null,
  progress: {
    ...noProgress,
    recordsFetched: 98_600,
    recordsTotal: 108_000,
    bytesFetched: 5e8,
    percent: 45,
    etaSeconds: 754
  },
  failure: null,
  startTime: "2020-01-01T00:00:00.000Z",
  endTime: null,
  published: false
}
