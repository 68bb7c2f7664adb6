// GitHub's schedules know UTC, and 2 AM in Sydney is 15:00 UTC in summer and 16:00 UTC in winter. So the workflow is started
// at both, and this lets one of them go on: prints `due=true` or `due=false` for the schedule in CRON.

const hours = new Intl.DateTimeFormat("en-AU", { timeZone: "Australia/Sydney", hour: "numeric", hourCycle: "h23" })
const hourInSydney = (at: number): number => Number(hours.format(at))

const hour = 60 * 60 * 1000
const day = 24 * hour

/** When the schedule `0 H * * *` was due last. GitHub may begin hours late, so the clock alone tells nothing. */
const dueLast = (cron: string, now: number): number => {
  const [minute, hourOfDay] = cron.split(" ").map(Number)
  const midnight = Math.floor(now / day) * day
  const today = midnight + (hourOfDay ?? 0) * hour + (minute ?? 0) * 60_000
  return today <= now ? today : today - day
}

/**
 * Whether this start is the one of the night: the first full hour of a day in Sydney that is 2 AM or later. In October,
 * when 2 AM is left out, that is 3 AM; in April, when it comes twice, it is the first of the two.
 */
export const isDue = (cron: string, now: number): boolean => {
  const at = dueLast(cron, now)
  return hourInSydney(at) >= 2 && hourInSydney(at - hour) < 2
}

if (import.meta.main) console.log(`due=${isDue(process.env.CRON ?? "", Date.now())}`)
