import { type Command, Completions } from "effect/cli"
import { shown } from "./Outcome.ts"

type Environment = Readonly<Record<string, string | undefined>>

/** An option of the command that npm took for one of its own. */
interface Swallowed {
  readonly name: string
  readonly isSwitch: boolean
  readonly value: string
}

/** Every option of the command and of its subcommands: its name, and whether it stands without a value. */
const optionsOf = (command: Command.Command.Any): ReadonlyMap<string, boolean> => {
  const found = new Map<string, boolean>()
  const collect = ({ flags, subcommands }: Completions.CommandDescriptor): void => {
    for (const { name, type } of flags) found.set(name, type._tag === "Boolean")
    subcommands.forEach(collect)
  }
  collect(Completions.fromCommand(command))
  return found
}

/** How npm hands an option of its own to a script: empty or `false` when it is switched off. */
const givenBy = (environment: Environment, option: string): string | undefined => {
  const value = environment[`npm_config_${option.replaceAll("-", "_")}`]
  return value === undefined || value === "" || value === "false" ? undefined : value
}

const quoted = (text: string): string => (/^[\w.:/@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/** The call as it should have been. npm tears an option from its value: `--limit 5` arrives as `true` and an argument. */
const rightForm = (args: ReadonlyArray<string>, options: ReadonlyArray<Swallowed>): string => {
  const torn = options.filter(({ isSwitch, value }) => !isSwitch && value === "true")
  const [command = "COMMAND", ...rest] = args
  const written = ({ value }: Swallowed): string =>
    value !== "true" ? quoted(value) : torn.length === 1 && rest.length === 1 ? quoted(rest[0] ?? "") : "VALUE"
  const flags = options.map((option) => (option.isSwitch ? `--${option.name}` : `--${option.name} ${written(option)}`))
  return shown(command, ...(torn.length === 0 ? rest.map(quoted) : []), ...flags)
}

/**
 * Why the command must not run: npm keeps options that stand before `--` to itself, so that `npm run medipim sync --dry-run`
 * would be a real sync. It shows them to the script as `npm_config_*`. `undefined` when no option was lost.
 */
export const swallowedOptions = (
  command: Command.Command.Any,
  args: ReadonlyArray<string>,
  environment: Environment
): string | undefined => {
  if (environment.npm_lifecycle_event !== "medipim") return undefined
  const isThere = (name: string) => args.some((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`))
  const lost = [...optionsOf(command)].flatMap(([name, isSwitch]): ReadonlyArray<Swallowed> => {
    const value = givenBy(environment, name)
    return value === undefined || isThere(name) ? [] : [{ name, isSwitch, value }]
  })
  if (lost.length === 0) return undefined
  const names = lost.map(({ name }) => `--${name}`).join(", ")
  return (
    `npm kept ${names} for itself, so nothing was done. Options of the command stand behind "--":\n` +
    `  ${rightForm(args, lost)}\n` +
    `If ${names} comes from npm's own settings (npm config, .npmrc, NPM_CONFIG_*), switch it off there.`
  )
}
