import { printableJson, printableLine } from "@medipim/domain/Printable"
import { Console, type Effect } from "effect"

/** The answer of a command for a person. What the services say may hold text of the source: it moves no cursor. */
export const print = (lines: ReadonlyArray<string>): Effect.Effect<void> =>
  Console.log(lines.map(printableLine).join("\n"))

/** The same for a script. */
export const printJson = (answer: unknown): Effect.Effect<void> => Console.log(printableJson(JSON.stringify(answer)))

/** Why there is no answer. */
export const printError = (message: string): Effect.Effect<void> =>
  Console.error(message.split("\n").map(printableLine).join("\n"))
