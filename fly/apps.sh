# shellcheck shell=bash
# What deploy.sh and rotate-admin-key.sh know of the three apps. Read by them, not run.

# A relative ENV_FILE means the folder in which the command was typed; what follows runs in the repository.
case ${ENV_FILE:-/} in
  /*) ;;
  *) export ENV_FILE=$PWD/$ENV_FILE ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

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
  need node "Install Node 20.12 or newer"
  flyctl auth whoami > /dev/null || stop "you are not logged in to Fly." "flyctl auth login"
}

check_env() {
  local problems
  problems=$(node fly/secrets.mjs check "$@") ||
    stop "${ENV_FILE:-.env} needs attention:" "$problems" "Every variable is explained in .env.example."
}

# answers STATUS SERVICE PATH [KEY]: waits until the app answers so; KEY names the variable whose value it is asked with.
# The first request wakes it.
answers() {
  local expected=$1 url try
  url=$(address_of "$2")$3
  for ((try = 1; try <= HEALTH_TRIES; try++)); do
    [ "$(node fly/secrets.mjs status "$url" "${@:4}")" != "$expected" ] || return 0
    [ "$try" = "$HEALTH_TRIES" ] || sleep "$HEALTH_PAUSE"
  done
  return 1
}

# refuses SERVICE NAME: the app answers and rejects the value of this variable. An app that does not answer rejects nothing.
refuses() {
  case $(node fly/secrets.mjs status "$(address_of "$1")/status" "$2") in
    401 | 429) return 0 ;;
    *) return 1 ;;
  esac
}

# A rotation that .env knows nothing of was begun with another .env: who has the other one of the two keys would be cut off.
check_rotation() {
  local app names
  ! node fly/secrets.mjs rotating || return 0
  for app in "$@"; do
    names=$(flyctl secrets list --app "$app") ||
      stop "flyctl cannot list the secrets of $app." "flyctl secrets list --app $app"
    ! grep -qw ADMIN_KEY_PREVIOUS <<< "$names" ||
      stop "$app has an ADMIN_KEY_PREVIOUS, and ${ENV_FILE:-.env} has none: a rotation is under way with another .env." \
        "Put both keys of that rotation into the file, or end it with the other one: fly/rotate-admin-key.sh --finish" \
        "Is it over, and ADMIN_KEY the new key: flyctl secrets unset ADMIN_KEY_PREVIOUS --app $app"
  done
}
