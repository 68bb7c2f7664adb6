import type { Schema } from "effect"

/** A schema with the sentence that the documents of the API (`/docs`, `openapi.json`) and `--help` show for it. */
export const described = <S extends Schema.Top>(schema: S, description: string): S["Rebuild"] =>
  schema.annotate({ description })
