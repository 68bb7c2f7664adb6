/**
 * Imported first by every entry point: an older Node stops with a clear message instead of a syntax error. (One that cannot read
 * TypeScript at all, below 22.18, says that itself.)
 */
const needed = 24
const found = process.versions.node

if (Number(found.split(".")[0]) < needed) {
  process.stderr.write(
    `This needs Node ${needed} and runs on ${found}. The npm scripts bring it along: npm start, npm run start:fetcher, ...\n`
  )
  process.exit(1)
}
