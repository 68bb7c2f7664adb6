/** Control characters, line and paragraph separators, and marks that turn the direction of text or hide in it. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu
/** The same but for line ends, tabs, and what switches colours. */
const unprintableInLog =
  /(?!\n|\t|\u001b\[(?:[0134]\d?|9\d)(?:;\d+)*m)(?:[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf})/gu
/** What `JSON.stringify` leaves as it is and a terminal acts on. */
const unprintableInJson = /[\u007f-\u009f\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu

/**
 * Text from outside (the source, the database, a service) as one line of at most so many characters, for a terminal, a log
 * or a message: it moves no cursor, forges no line and turns no text around.
 */
export const printable = (text: string, longest = 300): string =>
  text.replaceAll(unprintable, " ").replaceAll(/\s+/g, " ").trim().slice(0, longest).toWellFormed()

/** A line that holds such text between our own: its layout stays. */
export const printableLine = (line: string): string => line.replaceAll(unprintable, " ").toWellFormed()

/** A coloured entry of a log for a terminal: lines after its first are indented, so that none of them looks like an entry. */
export const printableEntry = (entry: string): string =>
  entry.replaceAll(unprintableInLog, " ").replaceAll("\n", "\n    ").toWellFormed()

/** JSON that says the same, with what a terminal would act on as escapes. */
export const printableJson = (json: string): string =>
  json.replaceAll(unprintableInJson, (found) =>
    found
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join("")
  )
