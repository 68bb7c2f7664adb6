import { StoreError } from "@medipim/domain/SnapshotStore"

/** What storage-js gives or throws: its fields differ by kind of error, so all are looked at. */
interface StorageFailure {
  readonly status?: number
  readonly statusCode?: string
  readonly message?: string
  readonly originalError?: { readonly message?: string; readonly cause?: { readonly code?: string } }
  readonly cause?: { readonly code?: string; readonly message?: string }
}

/** The status in the body counts; the HTTP status of a client error is 400 whatever it was. */
const statusOf = ({ status, statusCode }: StorageFailure): number => {
  const inBody = Number(statusCode)
  return Number.isInteger(inBody) && inBody >= 400 ? inBody : (status ?? 0)
}

const faultOf = (status: number, message: string): StoreError["fault"] => {
  if (status === 0 || status >= 500 || status === 429 || status === 408) return "unavailable"
  if (status === 404) return /bucket not found/i.test(message) ? "bucket-missing" : "not-found"
  if (status === 401 || status === 403) return "denied"
  return status === 413 ? "too-large" : "invalid"
}

/** Maps a failure of Supabase Storage (docs/reference/supabase-storage.md#errors) to the fault that decides what to do. */
export const storeError = (operation: StoreError["operation"], key: string, failure: unknown): StoreError => {
  const error = failure as StorageFailure
  const status = statusOf(error)
  const network = error.originalError?.cause?.code ?? error.cause?.code
  const message = [error.message, network].filter((text) => text !== undefined && text !== "").join(" ")
  return new StoreError({
    operation,
    key,
    fault: faultOf(status, message),
    detail: status === 0 ? message : `${status} ${message}`
  })
}
