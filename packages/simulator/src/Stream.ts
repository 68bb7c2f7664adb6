import type { ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import type { Fault } from "./Faults.ts"
import type { Selection } from "./Source.ts"

/** Lines are sent in blocks of about this many characters. */
const blockLength = 256 * 1024
const moved = (line: string, total: number): string => line.replace(/"total":\d+/, `"total":${total}`)

/** What a fault makes of the line at its place. `end` breaks the connection off after it. */
const struck = (fault: Fault["fault"], line: string, total: number): string => {
  switch (fault) {
    case "cut-mid-line":
      return line.slice(0, Math.floor(line.length / 2))
    case "error-line":
      return '{"error":{"status":500,"code":"internal","message":"the export failed"}}\n'
    case "invalid-json-line":
      return `${line.slice(0, Math.floor(line.length / 2))}\n`
    case "undecodable":
      return `${line.slice(0, -3)},"note":"\\u0000"}}\n`
    case "unknown-shape":
      return `${line.slice(0, -3).replace(/"publicPrice":[^,]+,/, "")},"publicPrice":"free"}}\n`
    case "duplicate-line":
      return line + line
    case "gap":
      return ""
    case "total-changes":
      return moved(line, total + 1)
    case "oversized-line":
      return `${line.slice(0, -3)},"padding":"${"x".repeat(17 * 1024 * 1024)}"}}\n`
    default:
      return line
  }
}

const endsAfter = new Set<string>(["cut-mid-line", "cut-between-lines", "error-line"])

/** Writes with backpressure; false once the reader is gone. */
const send = async (response: ServerResponse, text: string): Promise<boolean> => {
  if (response.destroyed) return false
  if (!response.write(text)) {
    await new Promise<void>((resolve) => {
      const go = () => {
        response.off("drain", go).off("close", go)
        resolve()
      }
      response.on("drain", go).on("close", go)
    })
  }
  return !response.destroyed
}

/** Sends the lines of a selection as MediPim does, with at most one fault. `onFault` is called when its place is reached. */
export const sendLines = async (
  response: ServerResponse,
  { total, lines }: Selection,
  fault: Fault | undefined,
  onFault: (fault: Fault) => void
): Promise<void> => {
  const at = fault === undefined ? -1 : (fault.at ?? Math.floor(total / 2))
  const announced = fault?.fault === "wrong-total" ? total + 10 : total
  response.writeHead(200, { "content-type": "application/x-ndjson" })
  let block = ""
  let index = 0
  for await (const made of lines()) {
    let line = announced === total ? made : moved(made, announced)
    if (fault !== undefined && index === at) {
      onFault(fault)
      if (!(await send(response, block))) return
      block = ""
      if (fault.fault === "stall") return
      if (fault.fault === "reset") {
        response.socket?.resetAndDestroy()
        return
      }
      line = struck(fault.fault, line, total)
      if (endsAfter.has(fault.fault)) {
        if (fault.fault !== "cut-between-lines") await send(response, line)
        response.end()
        return
      }
    }
    if (fault?.fault === "slow-drip" && index >= at) {
      if (!(await send(response, line))) return
      await sleep(fault.delayMs ?? 20)
    } else block += line
    if (block.length >= blockLength) {
      if (!(await send(response, block))) return
      block = ""
    }
    index += 1
  }
  if (await send(response, block)) response.end()
}
