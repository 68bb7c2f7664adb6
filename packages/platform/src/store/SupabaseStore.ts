import { SnapshotStore, type StoredObject, StoreError } from "@medipim/domain/SnapshotStore"
import { StorageClient } from "@supabase/storage-js"
import { Clock, Duration, Effect, Layer, Option, Redacted, Stream } from "effect"
import { storeError } from "./StorageFaults.ts"
import { retryStoreOutage } from "./StoredObjects.ts"
import { invalidKey } from "./StoreKeys.ts"

type Operation = StoreError["operation"]

/** Where the bucket is, and the secret key of the project. */
export interface Options {
  /** Address of the project: `https://<project>.supabase.co`. */
  readonly url: string
  readonly serviceRoleKey: Redacted.Redacted
  readonly bucket: string
}

/** One try of one request; a part of 6 MB passes in seconds even on a slow line. */
const timeout = "60 seconds"
/** A bucket is checked again after this long: it may have been made public, or a permission revoked. */
const trustedFor = Duration.toMillis("1 minute")
/** For the whole probe: the caller of /readyz gives up after five seconds. */
const probePatience = "4 seconds"
const pageSize = 1000

/** The new secret keys are no tokens: they go into the `apikey` header alone. */
const headersOf = (key: string): Record<string, string> =>
  key.startsWith("sb_secret_") ? { apikey: key } : { apikey: key, authorization: `Bearer ${key}` }

/** Without `redirect: "error"` Node buffers a streamed body while it sends it (docs/reference/supabase-storage.md#memory). */
const fetchWith =
  (signal: AbortSignal): typeof fetch =>
  (input, init) =>
    fetch(input, { ...init, redirect: "error", signal })

/** Written over and over: that a part could be stored. */
const probeKey = "readiness"
const probe = Buffer.from("medipim")
const probeOptions = { contentType: "text/plain", upsert: true }

const inTime = (operation: Operation, key: string, duration: Duration.Input) =>
  Effect.timeoutOrElse({
    duration,
    orElse: () => Effect.fail(new StoreError({ operation, key, fault: "unavailable", detail: "no answer in time" }))
  })

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
      inTime(operation, key, timeout)
    )

  const createBucket = once("prepare", bucket, (storage) => storage.createBucket(bucket, { public: false })).pipe(
    Effect.catchIf(
      (error) => /already exists/i.test(error.detail),
      () => Effect.void
    )
  )

  /** Makes the bucket where it is missing. */
  const orCreate = <A>(act: Effect.Effect<A, StoreError>) =>
    Effect.catchIf(
      act,
      (error) => error.fault === "bucket-missing",
      () => Effect.andThen(createBucket, act)
    )

  const attempt = <A>(operation: Operation, key: string, act: (storage: StorageClient) => PromiseLike<Answer<A>>) =>
    Effect.suspend(() => {
      const invalid = invalidKey(operation, key)
      return invalid === undefined ? orCreate(once(operation, key, act)) : Effect.fail(invalid)
    }).pipe(Effect.withSpan(`SupabaseStore.${operation}`, { attributes: { key } }))

  const ask = <A>(...what: Parameters<typeof attempt<A>>) => retryStoreOutage(attempt<A>(...what))

  let privateUntil = 0
  const refusePublic = (found: { readonly public: boolean } | null) =>
    found?.public === true
      ? Effect.fail(
          new StoreError({ operation: "prepare", key: bucket, fault: "public", detail: "the bucket is public" })
        )
      : Effect.map(Clock.currentTimeMillis, (now) => {
          privateUntil = now + trustedFor
        })

  /** Wholesale prices are in here: nothing is stored in a public bucket. */
  const assertPrivate = Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now < privateUntil && privateUntil - now <= trustedFor
      ? Effect.void
      : Effect.flatMap(
          ask("prepare", bucket, (storage) => storage.getBucket(bucket)),
          refusePublic
        )
  )

  const page = (prefix: string, offset: number) =>
    ask("list", prefix, (storage) =>
      storage.from(bucket).list(prefix.replace(/\/$/, ""), {
        limit: pageSize,
        offset,
        sortBy: { column: "name", order: "asc" }
      })
    )

  let writableUntil = 0
  /** Writes a few bytes, at most once a minute: /readyz is open to every caller. */
  const assertWritable = Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now < writableUntil && writableUntil - now <= trustedFor
      ? Effect.void
      : once("prepare", probeKey, (storage) => storage.from(bucket).upload(probeKey, probe, probeOptions)).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              writableUntil = now + trustedFor
            })
          ),
          Effect.asVoid
        )
  )

  const assertVisible = ask("prepare", bucket, (storage) => storage.getBucket(bucket))

  /** All entries directly below a prefix; folders have no id. A key without permission sees none: an empty list proves nothing. */
  const entries = (prefix: string) =>
    Stream.paginate(0, (offset) =>
      Effect.map(page(prefix, offset), (answer) => {
        const found = answer ?? []
        return [found, found.length < pageSize ? Option.none<number>() : Option.some(offset + pageSize)] as const
      })
    ).pipe(
      Stream.runCollect,
      Effect.tap((found) => (found.length === 0 ? Effect.asVoid(assertVisible) : Effect.void))
    )

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
      Effect.andThen(
        assertPrivate,
        ask("put", key, (storage) =>
          // upsert: a try whose answer was lost is repeated with the same bytes.
          storage.from(bucket).upload(key, bytes, { contentType, upsert: true })
        )
      ).pipe(Effect.asVoid),
    get: (key) =>
      Stream.unwrap(
        attempt("get", key, (storage) => storage.from(bucket).download(key).asStream()).pipe(
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
    // In this order: nothing is written into a public bucket.
    check: orCreate(once("prepare", bucket, (storage) => storage.getBucket(bucket))).pipe(
      Effect.flatMap(refusePublic),
      Effect.andThen(assertWritable),
      inTime("prepare", bucket, probePatience)
    )
  })
}

/** Snapshots in Supabase Storage. The bucket is made, private, when it is missing. */
export const layer = (options: Options): Layer.Layer<SnapshotStore> => Layer.sync(SnapshotStore, () => make(options))
