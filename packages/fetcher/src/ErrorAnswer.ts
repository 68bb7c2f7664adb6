import { printable } from "@medipim/domain/Printable"
import { Option, Schema } from "effect"

/** The body of an error of MediPim (docs/reference/medipim-api.md#errors). The place of a violation may have either name. */
const ErrorBody = Schema.fromJsonString(
  Schema.Struct({
    error: Schema.Struct({
      code: Schema.optional(Schema.String),
      message: Schema.optional(Schema.String),
      violations: Schema.optional(
        Schema.Array(
          Schema.Struct({
            path: Schema.optional(Schema.String),
            field: Schema.optional(Schema.String),
            message: Schema.optional(Schema.String)
          })
        )
      )
    })
  })
)
const decodeErrorBody = Schema.decodeUnknownOption(ErrorBody)
type ErrorFields = (typeof ErrorBody.Type)["error"]

const shownViolations = 5

const violationsOf = ({ violations = [] }: ErrorFields): ReadonlyArray<string> =>
  violations.slice(0, shownViolations).map(({ path, field, message }) => `${path ?? field ?? "?"}: ${message ?? "?"}`)

/** The title of a page, or its text: what a firewall or a maintenance page says. */
const pageText = (body: string): string =>
  /<title[^>]*>([^<]*)/i.exec(body)?.[1]?.trim() || body.replaceAll(/<(script|style)[^>]*>.*?<\/\1>|<[^>]*>/gis, " ")

/** What an answer that is no stream says, as one line: MediPim's own words where they are there. */
export const explain = (
  status: number,
  body: string,
  location: string | undefined
): { readonly code: string; readonly detail: string } => {
  const error = Option.getOrUndefined(Option.map(decodeErrorBody(body), ({ error }) => error))
  const said = error === undefined ? pageText(body) : [error.message ?? "", ...violationsOf(error)].join("; ")
  const moved =
    status >= 300 && status < 400 && location !== undefined ? `moved to ${location} (see MEDIPIM_API_URL)` : ""
  return {
    code: printable(error?.code ?? ""),
    detail: printable([moved, said.trim()].filter((text) => text !== "").join(": ")) || "no reason given"
  }
}
