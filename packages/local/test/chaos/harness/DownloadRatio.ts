import { Effect } from "effect"
import { Environment } from "./Environment.ts"
import { download } from "./Source.ts"

/** From here to the end of the run at most so many times the stream is downloaded: what is stored is not asked for again. */
export const thriftily = Effect.fnUntraced(function* (atMost: number) {
  const { proxies, simulatorUrl } = yield* Environment
  const whole = (yield* Effect.promise(() => download(simulatorUrl))).length
  const before = proxies.source.bytes()
  const complaints = Effect.sync(() => {
    const ratio = (proxies.source.bytes() - before) / whole
    const figure = `${ratio.toFixed(3)} times the ${(whole / 1e6).toFixed(0)} MB were downloaded`
    process.stdout.write(`         ${figure}\n`)
    return ratio < 1 || ratio > atMost ? [figure] : []
  })
  return { complaints }
})
