import { Effect } from "effect"
import { House } from "./House.ts"
import { download } from "./Source.ts"

/** Times the bytes of the whole stream. */
const patience = 1.2

/** From here to the end of the run little more than one stream is downloaded: what is stored is not asked for again. */
export const thriftily = Effect.gen(function* () {
  const { proxies, simulatorUrl } = yield* House
  const whole = (yield* Effect.promise(() => download(simulatorUrl))).length
  const before = proxies.source.bytes()
  const complaints = Effect.sync(() => {
    const ratio = (proxies.source.bytes() - before) / whole
    const figure = `${ratio.toFixed(3)} times the ${(whole / 1e6).toFixed(0)} MB were downloaded`
    process.stdout.write(`         ${figure}\n`)
    return ratio < 1 || ratio > patience ? [figure] : []
  })
  return { complaints }
})
