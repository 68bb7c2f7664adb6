import { assert, describe, it } from "@effect/vitest"
import { random } from "@medipim/testing/Randomness"
import { Schema } from "effect"
import { CronText, madeUpForMillis, nextAfter, pendingAt, scheduleOf, TimezoneName } from "../src/Schedule.ts"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const from = Date.parse("2026-01-01T00:00:00Z")
const until = Date.parse("2036-01-01T00:00:00Z")
const zones = ["Australia/Sydney", "Australia/Brisbane", "Europe/Brussels"]
const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** What a clock on the wall of a place shows, such as `2026-10-04 03:00`, by the time zones of Node itself. */
const clockOf = (zone: string) => {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" })
  return (at: number) => format.format(at)
}
const sydney = clockOf("Australia/Sydney")
const utc = (text: string): number => Date.parse(text)
const iso = (at: number): string => new Date(at).toISOString()

const dates = Array.from({ length: (until - from) / day }, (_, n) => iso(from + n * day).slice(0, 10))

/** The first moment of each day at which the clock has reached this time; clocks and times move by half hours here. */
const firstMoments = (zone: string, time: string): ReadonlyArray<number> => {
  const clock = clockOf(zone)
  return dates.map((date) => {
    let at = utc(`${date}T${time}:00Z`) - 12 * hour
    while (clock(at) < `${date} ${time}`) at += hour / 2
    return at
  })
}

const nights = new Map(zones.map((zone) => [zone, firstMoments(zone, "02:00")]))
const nightsOf = (zone: string): ReadonlyArray<number> => nights.get(zone) ?? []

describe("A daily schedule", () => {
  for (const zone of zones) {
    it(`comes at the first moment of 02:00 on every local day of ten years in ${zone}, and never else`, () => {
      const schedule = scheduleOf("0 2 * * *", zone)
      const wanted = nightsOf(zone)
      const found: Array<number> = []
      for (let at = (wanted[0] ?? 0) - 1; found.length < wanted.length; at = found.at(-1) ?? 0) {
        found.push(nextAfter(schedule, at))
      }
      assert.deepStrictEqual(found.map(iso), wanted.map(iso))
    })
  }

  it.prop(
    "comes once on every local day, also around the changes of clocks, whatever its time and whenever it is asked for",
    {
      zone: Schema.Literals(zones),
      year: whole(2026, 2035),
      hours: Schema.Literals([0, 1, 2, 3, 12, 23]),
      minutes: whole(0, 59)
    },
    ({ zone, year, hours, minutes }) => {
      const schedule = scheduleOf(`${minutes} ${hours} * * *`, zone)
      const clock = clockOf(zone)
      for (const change of ["03-24", "09-29", "10-22"]) {
        const begin = utc(`${year}-${change}T12:00:00Z`)
        const asked = Array.from({ length: 580 }, (_, n) => begin + n * 37 * minute)
        const answers = asked.map((at) => nextAfter(schedule, at))
        const comings = new Set(answers)
        // No answer passes over what another one has found.
        assert.deepStrictEqual(
          answers,
          asked.map((at) => [...comings].find((coming) => coming > at))
        )
        const days = [...comings].map((at) => clock(at).slice(0, 10))
        assert.deepStrictEqual([...new Set(days)], days)
        assert.isAtLeast(days.length, 15)
        for (const at of comings) {
          const time = `${String(hours).padStart(2, "0")}:${String(minutes).padStart(2, "0")}`
          const shown = clock(at).slice(11)
          if (shown === time) continue
          // The hour that does not exist: the clock shows one more, and a minute of that hour ago it showed one less.
          assert.strictEqual(shown, `${String(hours + 1).padStart(2, "0")}:${time.slice(3)}`)
          assert.isBelow(Number(clock(at - (minutes + 1) * minute).slice(11, 13)), hours)
        }
      }
    },
    random(2, 8)
  )

  it("is still to come in the hour after a time that does not exist", () => {
    const schedule = scheduleOf("30 2 * * *", "Australia/Sydney")
    assert.strictEqual(iso(nextAfter(schedule, utc("2026-10-03T16:10:00Z"))), "2026-10-03T16:30:00.000Z")
    assert.strictEqual(sydney(utc("2026-10-03T16:30:00Z")), "2026-10-04 03:30")
  })

  it("comes at 03:00 in Sydney when 02:00 does not exist, and once when it comes twice", () => {
    const schedule = scheduleOf("0 2 * * *", "Australia/Sydney")
    assert.strictEqual(iso(nextAfter(schedule, utc("2026-10-03T12:00:00Z"))), "2026-10-03T16:00:00.000Z")
    assert.strictEqual(sydney(utc("2026-10-03T16:00:00Z")), "2026-10-04 03:00")
    assert.strictEqual(iso(nextAfter(schedule, utc("2026-10-03T16:00:00Z"))), "2026-10-04T15:00:00.000Z")

    assert.strictEqual(iso(nextAfter(schedule, utc("2027-04-03T12:00:00Z"))), "2027-04-03T15:00:00.000Z")
    assert.strictEqual(sydney(utc("2027-04-03T15:00:00Z")), "2027-04-04 02:00")
    assert.strictEqual(sydney(utc("2027-04-03T16:00:00Z")), "2027-04-04 02:00")
    assert.strictEqual(iso(nextAfter(schedule, utc("2027-04-03T15:00:00Z"))), "2027-04-04T16:00:00.000Z")
    assert.isUndefined(pendingAt(schedule, utc("2027-04-03T15:00:00Z"), utc("2027-04-03T16:30:00Z")))
  })
})

interface Span {
  readonly from: number
  readonly to: number
}

/** Minutes. */
const Turn = Schema.Struct({ up: whole(240, 5000), down: whole(20, 4000) })
type Turn = typeof Turn.Type

/** When the process is up during ten years: these times of being up and down, over and over. */
const upTimes = (first: Turn, more: ReadonlyArray<Turn>): ReadonlyArray<Span> => {
  const turns = [first, ...more]
  const spans: Array<Span> = []
  for (let at = from, n = 0; at < until; n++) {
    const { up, down } = turns[n % turns.length] ?? first
    spans.push({ from: at, to: at + up * minute })
    at += (up + down) * minute
  }
  return spans
}

/** The moments at which a sync is started by a process that looks when it comes up, soon again, and at every night. */
const startsOf = (zone: string, spans: ReadonlyArray<Span>): ReadonlyArray<number> => {
  const schedule = scheduleOf("0 2 * * *", zone)
  const starts: Array<number> = []
  let handled = from - day
  let night = 0
  const nextNight = () => nightsOf(zone)[night] ?? Number.POSITIVE_INFINITY
  const look = (at: number) => {
    const pending = pendingAt(schedule, handled, at)
    if (pending === undefined) return
    handled = pending.at
    if (pending.inTime) starts.push(at)
  }
  for (const span of spans) {
    look(span.from)
    look(span.from + 30_000)
    for (let at = nextNight(); at < span.to; night++, at = nextNight()) if (at >= span.from) look(at)
  }
  return starts
}

describe("Downtime", () => {
  for (const zone of zones) {
    const midnights = firstMoments(zone, "00:00")
    it.prop(
      `starts one sync on every day of ten years on which the process was up after 02:00, and none else, in ${zone}`,
      { first: Turn, more: Schema.Array(Turn) },
      ({ first, more }) => {
        const spans = upTimes(first, more)
        const clock = clockOf(zone)
        const wanted = dates.filter((_, n) =>
          spans.some((span) => span.to > (nightsOf(zone)[n] ?? 0) && span.from < (midnights[n + 1] ?? 0))
        )
        const inside = (date: string) => date > "2026-01-01" && date < "2035-12-31"
        const started = startsOf(zone, spans).map((at) => clock(at).slice(0, 10))
        assert.deepStrictEqual(started.filter(inside), wanted.filter(inside))
      },
      random(2, 6)
    )
  }

  const nightly = scheduleOf("0 2 * * *", "Australia/Sydney")
  const at = (local: string, zone = "+10:00") => utc(`${local}:00${zone}`)

  it("is made up for once, not once a missed day", () => {
    const back = at("2026-07-09T04:30")
    const pending = pendingAt(nightly, at("2026-07-05T02:00"), back)
    assert.deepStrictEqual(pending, { at: at("2026-07-09T02:00"), inTime: true })
    assert.isUndefined(pendingAt(nightly, at("2026-07-09T02:00"), back + minute))
  })

  it("is not made up for on the next day: that one's sync is close", () => {
    const handled = at("2026-07-05T02:00")
    assert.deepStrictEqual(pendingAt(nightly, handled, at("2026-07-06T23:59")), {
      at: at("2026-07-06T02:00"),
      inTime: true
    })
    assert.deepStrictEqual(pendingAt(nightly, handled, at("2026-07-07T00:00")), {
      at: at("2026-07-06T02:00"),
      inTime: false
    })
  })

  it("over midnight does not lose the sync of an evening", () => {
    const evening = scheduleOf("30 23 * * *", "Australia/Sydney")
    const due = at("2026-07-06T23:30")
    assert.deepStrictEqual(pendingAt(evening, due - day, at("2026-07-07T00:30")), { at: due, inTime: true })
    assert.deepStrictEqual(pendingAt(evening, due - day, due + madeUpForMillis), { at: due, inTime: true })
    assert.deepStrictEqual(pendingAt(evening, due - day, due + madeUpForMillis + 1), { at: due, inTime: false })
  })

  it("is made up for during the week when the sync is weekly, until the day of the next one", () => {
    const weekly = scheduleOf("0 2 * * 0", "Australia/Sydney")
    const due = at("2026-07-05T02:00")
    assert.deepStrictEqual(pendingAt(weekly, due - 7 * day, at("2026-07-08T09:00")), { at: due, inTime: true })
    assert.deepStrictEqual(pendingAt(weekly, due - 7 * day, at("2026-07-12T00:10")), { at: due, inTime: false })
    assert.strictEqual(nextAfter(weekly, due), at("2026-07-12T02:00"))
  })

  it("is made up for by one sync when syncs are hourly", () => {
    const hourly = scheduleOf("0 * * * *", "Australia/Sydney")
    assert.deepStrictEqual(pendingAt(hourly, at("2026-07-05T02:00"), at("2026-07-05T09:50")), {
      at: at("2026-07-05T09:00"),
      inTime: true
    })
  })
})

describe("An hourly schedule", () => {
  for (const [change, begin] of [
    ["forward", "2026-10-03T12:30:00Z"],
    ["back", "2027-04-03T12:30:00Z"]
  ] as const) {
    it(`follows real hours when clocks go ${change}`, () => {
      const schedule = scheduleOf("30 * * * *", "Australia/Sydney")
      for (let at = utc(begin); at < utc(begin) + day; at += hour) {
        for (const later of [0, 1, 29 * minute, hour - 1])
          assert.strictEqual(nextAfter(schedule, at + later), at + hour)
      }
    })
  }
})

describe("The text of a schedule", () => {
  const isCron = Schema.is(CronText)
  const isTimezone = Schema.is(TimezoneName)

  it("has five fields, and comes one day", () => {
    for (const text of ["0 2 * * *", "*/15 * * * *", "0 2 * * mon-fri", "0  2 1,15 * *", "0 0 29 2 *"]) {
      assert.isTrue(isCron(text), text)
    }
    for (const text of [
      "",
      "2",
      "0 2 * *",
      "0 0 2 * * *",
      "@daily",
      "60 2 * * *",
      "0 24 * * *",
      "0 2 * * 8",
      "0 0 31 2 *"
    ]) {
      assert.isFalse(isCron(text), text)
    }
  })

  it("names a place that has a clock", () => {
    for (const name of ["Australia/Sydney", "Europe/Brussels", "UTC"]) assert.isTrue(isTimezone(name), name)
    for (const name of ["", "Sydney", "Australia/Nowhere", "2"]) assert.isFalse(isTimezone(name), name)
  })
})
