const { NODE_COMPILE_CACHE } = process.env

/** For the environment of a program of ours: it starts in two thirds of the time (see `vitest.config.ts`). */
export const nodeCache: Readonly<Record<string, string>> =
  NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }
