import type { SnapshotStore } from "@medipim/domain/SnapshotStore"
import { type Layer, Option, Redacted } from "effect"
import * as FolderStore from "./FolderStore.ts"
import * as SupabaseStore from "./SupabaseStore.ts"

/** The store that the environment names (see `storeSettings`). */
export const storeLayer = (settings: {
  readonly snapshotDir: Option.Option<string>
  readonly supabaseUrl: Option.Option<string>
  readonly serviceRoleKey: Option.Option<Redacted.Redacted>
  readonly bucket: string
}): Layer.Layer<SnapshotStore> =>
  Option.match(settings.snapshotDir, {
    onSome: FolderStore.layer,
    onNone: () =>
      SupabaseStore.layer({
        url: Option.getOrElse(settings.supabaseUrl, () => ""),
        serviceRoleKey: Option.getOrElse(settings.serviceRoleKey, () => Redacted.make("")),
        bucket: settings.bucket
      })
  })
