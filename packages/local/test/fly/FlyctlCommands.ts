// The commands of flyctl that the documents show besides those of the scripts, with the options that they take: from flyctl's
// own reference (https://fly.io/docs/flyctl/, August 2026). A name that ends with = takes a value.
const commands: Readonly<Record<string, string>> = {
  "auth login": "",
  "apps restart": "",
  "checks list": "--app=",
  "config show": "--app=",
  "ips list": "--app=",
  logs: "--app= --no-tail --json --machine=",
  "machine destroy": "--app= --force",
  "machine list": "--app= --json",
  "machine run": "--app= --schedule= --region= --env= --command=",
  "machine start": "--app=",
  "machine status": "--app= --display-config",
  "machine update": "--app= --yes --command=",
  "orgs list": "",
  proxy: "--app=",
  releases: "--app= --image",
  "scale count": "--app= --yes",
  "scale show": "--app=",
  "secrets list": "--app=",
  "secrets set": "--app=",
  "secrets unset": "--app=",
  "ssh console": "--app= --command=",
  status: "--app="
}

/** What flyctl would not understand of this call; nothing when it would. */
export const misunderstood = (args: ReadonlyArray<string>, apps: ReadonlyArray<string>): string | undefined => {
  const words = args[0] === "m" ? ["machine", ...args.slice(1)] : args
  const name = [words.slice(0, 2).join(" "), words[0] ?? ""].find((name) => name in commands)
  if (name === undefined) return `there is no command ${args.join(" ")}`
  const options = new Set((commands[name] ?? "").split(" "))
  const rest = words.slice(name.split(" ").length)
  let app: string | undefined = name === "apps restart" ? rest[0] : undefined
  for (let i = 0; i < rest.length && rest[i] !== "--"; i++) {
    const option = rest[i] ?? ""
    if (!option.startsWith("-") || options.has(option)) continue
    if (!options.has(`${option}=`)) return `${name} has no option ${option}`
    i++
    if (option === "--app") app = rest[i]
  }
  const needsApp = options.has("--app=") || name === "apps restart"
  return needsApp && !apps.includes(app ?? "") ? `there is no app ${app}` : undefined
}
