import { gunzipSync, gzipSync } from "node:zlib"
import { Effect } from "effect"
import { afterBytes } from "../harness/ByteOffset.ts"
import { type Case, kills, trapped } from "../harness/Case.ts"
import { Environment } from "../harness/Environment.ts"
import { failing } from "./Failing.ts"

const part = /ndjson\.gz$/

const other = (digit: string): string => (digit === "9" ? "8" : String(Number(digit) + 1))

/** One price is another one, in as many lines and bytes, and in gzip without a fault: only the hash tells. */
const mispriced = (bytes: Buffer): Buffer =>
  gzipSync(
    gunzipSync(bytes)
      .toString("utf8")
      .replace(/(?<="publicPrice":)\d/, other)
  )

const falsify: NonNullable<Case["strike"]> = (runId) =>
  Effect.flatMap(Environment, ({ damage }) =>
    damage(new RegExp(`${runId}/.*${part.source}`), mispriced) > 0
      ? Effect.void
      : Effect.fail("there was no part to damage")
  )

/** All parts that are stored lose their second half. */
const halve = Effect.flatMap(Environment, ({ damage }) =>
  damage(part, (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2))) > 0
    ? Effect.void
    : Effect.fail("there was no part to damage")
)

/** The download goes on behind a part that the store no longer holds whole. */
const cutShortMeanwhile: Case = {
  ...kills("fetcher"),
  name: "storage: a part is cut short while its fetcher is down",
  kind: "fault",
  begin: Effect.fnUntraced(function* (dice) {
    const { proxies, streamBytes } = yield* Environment
    const where = /\/stream$/
    const half = Math.floor(streamBytes / 2)
    const broken = proxies.source.set({
      where,
      at: "body",
      place: afterBytes(dice.int(half, streamBytes)),
      what: "cut"
    })
    const again = Effect.map(broken.sprung, () => proxies.source.set({ where, at: "request" }))
    const asksAgain = yield* Effect.cached(again)
    return {
      sprung: Effect.flatMap(asksAgain, ({ sprung }) => sprung),
      open: Effect.flatMap(asksAgain, ({ open }) => open)
    }
  }),
  strike: () => Effect.flatMap(Environment, ({ kill }) => Effect.andThen(kill("fetcher"), halve)),
  outcome: "succeeded"
}

/** Damage that is done when the snapshot is complete and nothing of it is staged yet. */
const damaged = (name: string, strike: NonNullable<Case["strike"]>): Case =>
  failing(
    {
      name: `storage: ${name}`,
      kind: "fault",
      begin: trapped("maintainer", { where: /^POST \/run$/, at: "request" }),
      strike
    },
    "SnapshotBroken",
    "Sync again with forceRefresh."
  )

/** What is stored is changed behind everybody's back. */
export const storageDamage: ReadonlyArray<Case> = [
  cutShortMeanwhile,
  damaged("parts are cut short for good", () => halve),
  damaged("a digit of a stored part is another one", falsify)
]
