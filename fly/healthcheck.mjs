// Is the service of this container alive? The image has no curl.
const ports = { fetcher: 3001, maintainer: 3002, orchestrator: 3003 }
const app = process.env.APP ?? ""
const port = process.env[`${app.toUpperCase()}_PORT`] || ports[app]

try {
  const answer = await fetch(`http://localhost:${port}/healthz`, { signal: AbortSignal.timeout(4000) })
  process.exitCode = answer.ok ? 0 : 1
} catch {
  process.exitCode = 1
}
