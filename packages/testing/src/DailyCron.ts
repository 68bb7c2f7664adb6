/** A daily cron for this moment, by the clock of UTC. */
export const dailyAt = (millis: number): string => {
  const due = new Date(millis)
  return `${due.getUTCMinutes()} ${due.getUTCHours()} * * *`
}
