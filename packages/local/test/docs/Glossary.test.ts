import { assert, describe, it } from "@effect/vitest"
import { RefusalReason } from "@medipim/domain/PublishRules"
import { FailureCode, Phase, RunStatus } from "@medipim/domain/Run"
import { StoreFault } from "@medipim/domain/SnapshotStore"
import { StreamFault } from "@medipim/domain/StreamCheck"
import { textOf } from "./DocumentPieces.ts"

const page = textOf("ARCHITECTURE.md")

/** The first column of the table that begins with this header. */
const firstColumn = (header: string): ReadonlyArray<string> => {
  const [, table = ""] = new RegExp(`^\\| ${header} +\\|.*\\n\\|[- |]+\\n((?:\\|.*\\n)+)`, "m").exec(page) ?? []
  return [...table.matchAll(/^\| `([\w-]+)`/gm)].map(([, word = ""]) => word).sort()
}
/** The tables of faults have the same header. */
const faults = page
  .split(/^\| fault /m)
  .slice(1)
  .map((table) => [...(table.split("\n\n")[0] ?? "").matchAll(/^\| `([\w-]+)`/gm)].map(([, word = ""]) => word).sort())

/** One row may explain several. */
const failureCodes = [
  ...(textOf("docs/troubleshooting.md")
    .split(/^\| code /m)[1]
    ?.split("\n\n")[0]
    ?.matchAll(/^\|( `\w+`,?)+/gm) ?? [])
]
  .flatMap(([cell]) => [...cell.matchAll(/`(\w+)`/g)].map(([, code = ""]) => code))
  .sort()

describe("The documents have exactly the words of the code", () => {
  it.each<[string, ReadonlyArray<string>, ReadonlyArray<string>]>([
    ["statuses of a run", firstColumn("status"), RunStatus.literals],
    ["phases", firstColumn("phase"), Phase.literals],
    ["faults of a stream", faults[0] ?? [], StreamFault.literals],
    ["faults of the store", faults[1] ?? [], StoreFault.literals],
    ["failure codes, of docs/troubleshooting.md", failureCodes, FailureCode.literals],
    ["reasons of a refusal", firstColumn("reason"), RefusalReason.literals]
  ])("%s", (_what, documented, inCode) => {
    assert.deepStrictEqual(documented, [...inCode].sort())
  })
})
