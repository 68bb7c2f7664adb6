import { StreamBroken } from "@medipim/domain/StreamCheck"
import { Duration, Effect, Stream } from "effect"

/** What a source must keep up. A rate of 0 is none. */
export interface LeastRate {
  /** Records a second. */
  readonly minRecordRate: number
  readonly recordRateWindow: Duration.Duration
}

const checksPerWindow = 20

/**
 * Fails a stream with `too-slow` when it brings fewer records than it must over a window, whatever else it sends: one byte a
 * second, or blank lines without end, keep a connection alive for ever. Time in which the store does not take what came
 * (`isHeldUp`) does not count: the source is not asked then.
 */
export const withLeastRate =
  ({ minRecordRate, recordRateWindow }: LeastRate, records: () => number, isHeldUp: () => boolean) =>
  <A>(source: Stream.Stream<A, StreamBroken>): Stream.Stream<A, StreamBroken> => {
    const least = minRecordRate * Duration.toSeconds(recordRateWindow)
    const checkInterval = Duration.millis(Duration.toMillis(recordRateWindow) / checksPerWindow)
    const watchdog = Effect.gen(function* () {
      let before = records()
      let checks = 0
      while (true) {
        yield* Effect.sleep(checkInterval)
        if (isHeldUp()) continue
        checks += 1
        if (checks < checksPerWindow) continue
        const came = records() - before
        if (came < least) {
          const detail =
            `${came} records in ${Duration.format(recordRateWindow)} (RECORD_RATE_WINDOW), fewer than ${minRecordRate} a ` +
            "second (MIN_RECORD_RATE)"
          return yield* new StreamBroken({ fault: "too-slow", received: 0, expected: 0, detail })
        }
        before = records()
        checks = 0
      }
    })
    return minRecordRate === 0 ? source : Stream.interruptWhen(source, watchdog)
  }
