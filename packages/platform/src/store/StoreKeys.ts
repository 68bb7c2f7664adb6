import { StoreError } from "@medipim/domain/SnapshotStore"

/** Supabase takes few characters beyond these (docs/reference/supabase-storage.md#names-and-lists), and a folder must not be left. */
const name = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
const valid = new RegExp(`^(?:${name}(?:/${name})*/?)?$`)

/** The error for a key that no adapter takes, or `undefined` for a good one. */
export const invalidKey = (operation: StoreError["operation"], key: string): StoreError | undefined =>
  valid.test(key)
    ? undefined
    : new StoreError({ operation, key, fault: "invalid", detail: "keys are ASCII paths without . and .." })
