import { peek } from "@medipim/domain/StreamLine"
import type { Dice } from "@medipim/testing/Dice"
import { Effect } from "effect"
import type { Case } from "../harness/Case.ts"
import { Environment } from "../harness/Environment.ts"

/** More than any download asks for. */
const requests = 30

/** The source is not broken in two ways at once. */
const isSound = ({ name }: Case): boolean => !name.startsWith("source: ")

/**
 * On some seeds the product whose line will be spoilt, changed so that its row differs from what the source has. It is
 * the first of the stream: a download that goes on has it behind it, wherever it broke.
 */
export const toSpoil = Effect.fnUntraced(function* (one: Case, dice: Dice) {
  if (dice.int(0, 2) > 0 || !isSound(one)) return []
  const { control, stream } = yield* Environment
  const id = peek(yield* stream)?.id ?? (yield* Effect.die("the stream begins with no product"))
  yield* control("POST /control/changes", { ids: { update: [id] } })
  return [id]
})

/** From now on the first line of every stream cannot be decoded. */
export const spoil = Effect.flatMap(Environment, ({ control }) =>
  control("POST /control/faults", { fault: "undecodable", at: 0, times: requests })
)
