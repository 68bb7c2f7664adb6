import { readFileSync } from "node:fs"
import { join } from "node:path"

const services = ["fetcher", "maintainer", "orchestrator"] as const
export type Service = (typeof services)[number]

const appOf = (service: Service): string =>
  /^app = "(.*)"$/m.exec(readFileSync(join(import.meta.dirname, `../../../../fly/${service}.toml`), "utf8"))?.[1] ?? ""

/** The apps by their service, as fly/*.toml names them: names are taken Fly-wide, and yours may be others. */
export const apps: Readonly<Record<Service, string>> = {
  fetcher: appOf("fetcher"),
  maintainer: appOf("maintainer"),
  orchestrator: appOf("orchestrator")
}
/** In the order in which they are deployed. */
export const appNames: ReadonlyArray<string> = services.map((service) => apps[service])

/** What the documents say of the apps by their first names, said of yours. */
export const withYourNames = (text: string): string =>
  services.reduce((said, service) => said.replaceAll(`medipim-${service}`, apps[service]), text)
