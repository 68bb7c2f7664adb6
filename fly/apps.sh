# shellcheck shell=bash
# What deploy.sh and rotate-admin-key.sh know of the three apps. Read by them, not run.

# In the order in which they are deployed: who is called comes before who calls.
# shellcheck disable=SC2034 # used by who reads this
services=(fetcher maintainer orchestrator)

# Where an app answers from outside; %s is its name.
APP_URL=${APP_URL:-https://%s.fly.dev}
# How often an app is asked until it must have answered, two seconds apart.
HEALTH_TRIES=${HEALTH_TRIES:-30}
HEALTH_PAUSE=${HEALTH_PAUSE:-2}

# The name is said once, in the toml file: names are taken Fly-wide, and yours may be another.
app_of() {
  sed -n 's/^app = "\(.*\)"$/\1/p' "fly/$1.toml"
}

address_of() {
  # shellcheck disable=SC2059 # the format is APP_URL
  printf "$APP_URL" "$(app_of "$1")"
}

# Tells what went wrong and what to do next, a line each, and ends.
stop() {
  printf '\nStopped: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/  /' >&2
  exit 1
}

need() {
  command -v "$1" > /dev/null || stop "there is no $1." "$2"
}

check_machine() {
  need flyctl "Install it (https://fly.io/docs/flyctl/install/), then: flyctl auth login"
  need curl "Install it: apt-get install curl, or brew install curl"
  need node "Install Node 20.12 or newer"
  flyctl auth whoami > /dev/null || stop "you are not logged in to Fly." "flyctl auth login"
}

check_env() {
  local problems
  problems=$(node fly/secrets.mjs check "$@") ||
    stop "${ENV_FILE:-.env} needs attention:" "$problems" "Every variable is explained in .env.example."
}

header() {
  [ $# -eq 0 ] || node fly/secrets.mjs header "$1"
}

# status_of SERVICE PATH [KEY]: the status that the app answers with, 000 when it does not; KEY names the variable whose
# value is sent as X-ADMIN-KEY. curl reads it from a pipe: arguments can be seen by everybody on the machine.
status_of() {
  header "${@:3}" | curl --silent --output /dev/null --max-time 15 --write-out '%{http_code}' --header @- \
    "$(address_of "$1")$2" || true
}

# answers STATUS SERVICE PATH [KEY]: waits until the app answers so. The first request wakes it.
answers() {
  local expected=$1 try
  shift
  for ((try = 1; try <= HEALTH_TRIES; try++)); do
    [ "$(status_of "$@")" != "$expected" ] || return 0
    [ "$try" = "$HEALTH_TRIES" ] || sleep "$HEALTH_PAUSE"
  done
  return 1
}
