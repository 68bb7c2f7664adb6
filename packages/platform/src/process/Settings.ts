import { problemLine } from "@medipim/domain/OperatorVariables"
import { Config, Data, Effect, Option, Schema } from "effect"

/** One variable of the environment: its name, what it is for, and how its text is read. */
export interface Setting<A> {
  readonly variable: string
  readonly purpose: string
  readonly decode: (text: string) => Option.Option<A>
  /** What a valid text looks like; the text itself is never shown, it may be a secret. */
  readonly expects: string
  /** What is wrong with a text that looks right at first, and the cure; it shows nothing of the text. */
  readonly problem: ((text: string) => string | undefined) | undefined
  /** The value when the variable is unset or empty; `undefined` when there is none. */
  readonly absent: ((set: (variable: string) => boolean) => Option.Option<A>) | undefined
}

/** How the text of a variable is read: `expects` says in words what is valid. */
export interface Form<A> {
  readonly schema: Schema.ConstraintDecoder<A>
  readonly expects: string
  readonly problem?: (text: string) => string | undefined
}

const decoder = <A>({ schema }: Form<A>) => Schema.decodeUnknownOption(schema)

/** A variable without a default. */
export const required = <A>(variable: string, purpose: string, form: Form<A>): Setting<A> => ({
  variable,
  purpose,
  decode: decoder(form),
  expects: form.expects,
  problem: form.problem,
  absent: undefined
})

/** A variable that has this value when it is unset or empty. */
export const withDefault = <A>(variable: string, purpose: string, form: Form<A>, value: A): Setting<A> => ({
  ...required(variable, purpose, form),
  absent: () => Option.some(value)
})

/** A variable that may be left out. */
export const optional = <A>(variable: string, purpose: string, form: Form<A>): Setting<Option.Option<A>> => ({
  variable,
  purpose,
  decode: (text) => Option.map(decoder(form)(text), Option.some),
  expects: form.expects,
  problem: form.problem,
  absent: () => Option.some(Option.none())
})

/** A variable that may be left out only when another one is set. */
export const unless = <A>(other: string, setting: Setting<Option.Option<A>>): Setting<Option.Option<A>> => ({
  ...setting,
  absent: (set) => (set(other) ? Option.some(Option.none()) : Option.none())
})

/** Every variable that is missing or wrong, named at once. */
export class InvalidSettings extends Data.TaggedError("InvalidSettings")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return ["These environment variables need attention (see .env.example):", ...this.problems].join("\n  ")
  }
}

type Values<S extends Record<string, Setting<unknown>>> = {
  readonly [K in keyof S]: S[K] extends Setting<infer A> ? A : never
}

const textOf = (variable: string) => Config.String(variable).pipe(Config.withDefault(""))

/** Reads all settings; fails with every problem, not with the first. */
export const loadSettings = Effect.fnUntraced(function* <const S extends Record<string, Setting<unknown>>>(
  settings: S
): Effect.fn.Return<Values<S>, InvalidSettings | Config.ConfigError> {
  const texts = new Map<string, string>()
  for (const { variable } of Object.values(settings)) texts.set(variable, yield* textOf(variable))
  const isSet = (variable: string) => (texts.get(variable) ?? "").trim() !== ""
  const problems: Array<string> = []
  const values: Record<string, unknown> = {}
  for (const [field, setting] of Object.entries(settings as Record<string, Setting<unknown>>)) {
    const { variable, expects } = setting
    const text = texts.get(variable) ?? ""
    const problem = isSet(variable) ? setting.problem?.(text) : undefined
    const value = isSet(variable) ? setting.decode(text.trim()) : (setting.absent?.(isSet) ?? Option.none())
    if (problem !== undefined) problems.push(problemLine(setting, problem))
    else if (Option.isSome(value)) values[field] = value.value
    else problems.push(problemLine(setting, isSet(variable) ? `is not ${expects}` : "is missing"))
  }
  return problems.length === 0 ? (values as Values<S>) : yield* new InvalidSettings({ problems })
})
