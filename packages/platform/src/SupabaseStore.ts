import { SnapshotStore, type StoredObject, StoreError } from "@medipim/domain/SnapshotStore"
import { StorageClient } from "@supabase/storage-js"
import { Effect, Layer, Option, Redacted, Schedule, Stream } from "effect"
import { storeError } from "./StorageFaults.ts"
import { invalidKey } from "./StoreKeys.ts"

type Operation = StoreError["operation"]

export interface Options {
  /** Address of the project: `https://<project>.supabase.co`. */
  readonly url: string
  readonly serviceRoleKey: Redacted.Redacted
  readonly bucket: string
}

/** One try of one request; a part of 6 MB passes in seconds even on a slow line. */
const patience = "60 seconds"
const persistence = {
  while: (error: StoreError) => error.retryable,
  schedule: Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("5 seconds")]).pipe(Schedule.jittered),
  times: 5
}
const pageSize = 1000

/** The new secret keys are no tokens: they go into the `apikey` header alone. */
const headersOf = (key: string): Record<string, string> =>
  key.startsWith("sb_secret_") ? { apikey: key } : { apikey: key, authorization: `Bearer ${key}` }

/** Without `redirect: "error"` Node keeps a copy of every body it sends (supabase-storage-notes.md section 3). */
const fetchWith =
  (signal: AbortSignal): typeof fetch =>
  (input, init) =>
    fetch(input, { ...init, redirect: "error", signal })

type Answer<A> = { readonly data: A; readonly error: null } | { readonly data: unknown; readonly error: unknown }

const make = ({ url, serviceRoleKey, bucket }: Options) => {
  const client = (signal: AbortSignal) =>
    new StorageClient(`${url}/storage/v1`, headersOf(Redacted.value(serviceRoleKey)), fetchWith(signal))

  const once = <A>(
    operation: Operation,
    key: string,
    act: (storage: StorageClient) => PromiseLike<Answer<A>>
  ): Effect.Effect<A, StoreError> =>
    Effect.tryPromise({
      try: (signal) => Promise.resolve(act(client(signal))),
      catch: (error) => storeError(operation, key, error)
    }).pipe(
      Effect.flatMap((answer) =>
        answer.error === null ? Effect.succeed(answer.data as A) : Effect.fail(storeError(operation, key, answer.error))
      ),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.fail(new StoreError({ operation, key, fault: "unavailable", detail: "no answer in time" }))
      })
    )

  const createBucket = once("prepare", bucket, (storage) => storage.createBucket(bucket, { public: false })).pipe(
    Effect.catchIf(
      (error) => /already exists/i.test(error.detail),
      () => Effect.void
    )
  )

  const ask = <A>(operation: Operation, key: string, act: (storage: StorageClient) => PromiseLike<Answer<A>>) =>
    Effect.suspend(() => {
      const invalid = invalidKey(operation, key)
      if (invalid !== undefined) return Effect.fail(invalid)
      const persistent = once(operation, key, act).pipe(Effect.retry(persistence))
      return Effect.catchIf(
        persistent,
        (error) => error.fault === "bucket-missing",
        () => Effect.andThen(createBucket, persistent)
      )
    }).pipe(Effect.withSpan(`SupabaseStore.${operation}`, { attributes: { key } }))

  const page = (prefix: string, offset: number) =>
    ask("list", prefix, (storage) =>
      storage.from(bucket).list(prefix.replace(/\/$/, ""), {
        limit: pageSize,
        offset,
        sortBy: { column: "name", order: "asc" }
      })
    )

  /** All entries directly below a prefix; folders have no id. */
  const entries = (prefix: string) =>
    Stream.paginate(0, (offset) =>
      Effect.map(page(prefix, offset), (answer) => {
        const found = answer ?? []
        return [found, found.length < pageSize ? Option.none<number>() : Option.some(offset + pageSize)] as const
      })
    ).pipe(Stream.runCollect)

  const walk = (prefix: string): Effect.Effect<ReadonlyArray<StoredObject>, StoreError> =>
    Effect.gen(function* () {
      const found: Array<StoredObject> = []
      for (const entry of yield* entries(prefix)) {
        const key = `${prefix}${entry.name}`
        if (entry.id === null) found.push(...(yield* walk(`${key}/`)))
        else found.push({ key, size: Number(entry.metadata?.size ?? 0) })
      }
      return found
    })

  return SnapshotStore.of({
    put: (key, bytes, contentType) =>
      ask("put", key, (storage) =>
        // upsert: a try whose answer was lost is repeated with the same bytes.
        storage.from(bucket).upload(key, bytes, { contentType, upsert: true })
      ).pipe(Effect.asVoid),
    get: (key) =>
      Stream.unwrap(
        ask("get", key, (storage) => storage.from(bucket).download(key).asStream()).pipe(
          Effect.map((body) =>
            Stream.fromReadableStream({
              evaluate: () => body as ReadableStream<Uint8Array>,
              onError: (error) => storeError("get", key, error)
            })
          )
        )
      ),
    list: (prefix) => Effect.map(walk(prefix), (found) => [...found].sort((a, b) => (a.key < b.key ? -1 : 1))),
    folders: (prefix) =>
      Effect.map(entries(prefix), (found) => found.filter((entry) => entry.id === null).map((entry) => entry.name)),
    remove: (keys) =>
      Effect.forEach(
        Array.from({ length: Math.ceil(keys.length / pageSize) }, (_, i) =>
          keys.slice(i * pageSize, (i + 1) * pageSize)
        ),
        (some) => ask("remove", some[0] ?? "", (storage) => storage.from(bucket).remove([...some])),
        { discard: true }
      ),
    check: Effect.asVoid(ask("prepare", bucket, (storage) => storage.getBucket(bucket)))
  })
}

/** Snapshots in Supabase Storage. The bucket is made, private, when it is missing. */
export const layer = (options: Options): Layer.Layer<SnapshotStore> => Layer.sync(SnapshotStore, () => make(options))
