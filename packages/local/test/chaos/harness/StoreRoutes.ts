/** Requests that write an object whose name ends like this. */
export const stores = (object: RegExp): RegExp =>
  new RegExp(`^(PUT|POST) /storage/v1/object/medipim-raw/.*${object.source}$`)

export const storesManifest = stores(/manifest\.json/)
export const readsPart = /^GET \/storage\/v1\/object\/medipim-raw\/.*ndjson\.gz$/
