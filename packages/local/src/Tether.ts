import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"

/**
 * Runs the command and waits for it; when standard input ends, sends it the signal. The pipe of standard input is held
 * by us alone, so it ends however we end: nothing is left behind even after SIGKILL.
 */
const script = `
exec 3<&0
signal=$1; shift
"$@" <&- 3<&- &
child=$!
( exec 1>&- 2>&-; while read -r _ <&3; do :; done; kill -s "$signal" "$child" 2>/dev/null ) &
wait "$child"; code=$?
exit "$code"
`

/** A child process that cannot outlive this one. */
export interface Tethered {
  readonly process: ChildProcess
  /** Exit code, or 128 + signal. */
  readonly exited: Promise<number>
  /** Lets go of the process: it gets its signal. Safe to repeat. */
  readonly release: () => void
}

/** Starts a command in a process group of its own, so that Ctrl-C in the terminal reaches us first. */
export const tether = (
  signal: "TERM" | "INT",
  command: ReadonlyArray<string>,
  options: Pick<SpawnOptions, "env" | "uid" | "gid" | "cwd"> & { readonly output: number | "ignore" | "inherit" }
): Tethered => {
  const { output, ...rest } = options
  const child = spawn("/bin/sh", ["-c", script, "tether", signal, ...command], {
    ...rest,
    detached: true,
    stdio: ["pipe", output, output]
  })
  child.stdin?.on("error", () => {})
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(127))
    child.on("exit", (code) => resolve(code ?? 137))
  })
  return { process: child, exited, release: () => child.stdin?.end() }
}
