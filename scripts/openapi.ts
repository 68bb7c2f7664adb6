// Writes docs/openapi/*.json from the schemas of the three APIs; with --check it only says whether they are current.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { FetcherApi } from "@medipim/http-api/FetcherApi"
import { MaintainerApi } from "@medipim/http-api/MaintainerApi"
import { OrchestratorApi } from "@medipim/http-api/OrchestratorApi"
import { OpenApi } from "effect/http-api"

const folder = fileURLToPath(new URL("../docs/openapi", import.meta.url))
const documents = {
  fetcher: OpenApi.fromApi(FetcherApi),
  maintainer: OpenApi.fromApi(MaintainerApi),
  orchestrator: OpenApi.fromApi(OrchestratorApi)
}

const isCheck = process.argv.includes("--check")
const written = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

mkdirSync(folder, { recursive: true })
for (const [name, document] of Object.entries(documents)) {
  const file = join(folder, `${name}.json`)
  const text = `${JSON.stringify(document, null, 2)}\n`
  if (!isCheck) writeFileSync(file, text)
  else if (written(file) !== text) {
    console.error(`docs/openapi/${name}.json is not what the schemas say. Run: npm run openapi`)
    process.exitCode = 1
  }
}
