import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../src/Workspace.ts"

/** Something of a document that can be tried: a command of a block or of the text, or a block of another language. */
export interface Piece {
  /** Where it stands, such as `docs/operations.md:12`. */
  readonly place: string
  /** The headings above it, the nearest one last. */
  readonly heading: string
  readonly language: string
  readonly text: string
}

/** What a span of code in the text must begin with to be a command; a name alone (`fly/deploy.sh`) is none. */
const command = /^(npm run -s medipim -- |curl |flyctl |gh |node fly\/|fly\/\S+\.sh )/

const withoutRemark = (line: string): string => line.replace(/ +# [^"']*$/, "")

export const textOf = (document: string): string => readFileSync(join(root, document), "utf8")

/** All pieces of a document, in their order. `npm run -s medipim -- watch [run]` stands for the command without what is optional. */
export const piecesOf = (document: string): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  let heading = ""
  let block: { readonly place: string; readonly language: string; readonly lines: Array<string> } | undefined
  for (const [i, line] of textOf(document).split("\n").entries()) {
    const place = `${document}:${i + 1}`
    const fence = /^```(\w*)$/.exec(line)
    if (block !== undefined) {
      const { language, lines } = block
      if (fence === null && language === "sh") {
        const last = lines.at(-1)
        // A line goes on behind a backslash; a remark at its end is for the reader.
        if (last?.endsWith("\\")) lines.splice(-1, 1, `${last}\n${line}`)
        else lines.push(line)
        if (!line.endsWith("\\")) pieces.push({ place, heading, language, text: withoutRemark(lines.at(-1) ?? "") })
      } else if (fence === null) lines.push(line)
      else {
        if (language !== "sh") pieces.push({ place: block.place, heading, language, text: lines.join("\n") })
        block = undefined
      }
    } else if (fence !== null) block = { place, language: fence[1] ?? "", lines: [] }
    else if (/^#+ /.test(line)) heading = line.replace(/^#+ /, "")
    else
      for (const [, span = ""] of line.matchAll(/`([^`]+)`/g)) {
        if (command.test(span)) pieces.push({ place, heading, language: "sh", text: span.replace(/ \[\w+\]$/, "") })
      }
  }
  return pieces
}

/** As GitHub makes the anchor of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-")

export const anchorsOf = (document: string): ReadonlyArray<string> =>
  [...textOf(document).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading))

/** What a document links to: addresses of the web are left out. */
export const linksOf = (document: string): ReadonlyArray<string> =>
  [...textOf(document).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => (/^\w+:/.test(link) ? [] : [link]))

/** Files and folders of this repository that a document names. */
export const filesNamedIn = (document: string): ReadonlyArray<string> =>
  [...textOf(document).matchAll(/`((?:packages|fly|docs|\.github)\/[\w./-]+)/g)].map(([, file = ""]) => file)
