/** Control characters, line and paragraph separators, and marks that turn the direction of text or hide in it. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu

/**
 * Text from outside (the source, the database, a service) as one line of at most so many characters, for a terminal, a log
 * or a message: it moves no cursor, forges no line and turns no text around.
 */
export const printable = (text: string, longest = 300): string =>
  text.replaceAll(unprintable, " ").replaceAll(/\s+/g, " ").trim().slice(0, longest).toWellFormed()
