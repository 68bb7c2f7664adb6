#!/usr/bin/env bash
# Changes the admin key without a moment in which a caller is refused. docs/security.md tells when.
set -euo pipefail
# shellcheck source=fly/apps.sh
source "$(dirname "$0")/apps.sh"

usage() {
  cat << 'END'
fly/rotate-admin-key.sh [--finish] [--help]

  1. fly/rotate-admin-key.sh            makes a new ADMIN_KEY, keeps the old one as ADMIN_KEY_PREVIOUS, and gives both to
                                        the apps: both are accepted from now on
  2. you move your callers to the new key of .env
  3. fly/rotate-admin-key.sh --finish   removes the old key

Either step may be stopped and repeated at any point: .env tells which rotation is under way, and a second start goes on
with the same new key. Environment: ENV_FILE instead of .env; FLY_API_TOKEN instead of a login.
END
}

finish=false
case ${1:-} in
  "") ;;
  --finish) finish=true ;;
  --help | -h)
    usage
    exit 0
    ;;
  *) stop "there is no option $1." "fly/rotate-admin-key.sh --help" ;;
esac

apply() {
  # Restarts the machines one by one; a machine that sleeps stays asleep and wakes with the new secrets.
  flyctl secrets deploy --app "$1" ||
    stop "$1 could not be restarted with its new secrets; it goes on with those it had." \
      "See why: flyctl status --app $1" "$2"
}

begin() {
  local again="Then run fly/rotate-admin-key.sh again: both keys are in .env, and no app refuses the old one."
  if node fly/secrets.mjs rotating; then
    echo "Going on with the rotation that .env has begun."
  else
    answers 200 orchestrator /status ADMIN_KEY ||
      stop "the orchestrator does not know the ADMIN_KEY of ${ENV_FILE:-.env}, so it cannot become the previous one." \
        "Put the key that is in use into the file; nothing was changed. Is it lost: docs/disaster-recovery.md"
    check_rotation "$(app_of fetcher)" "$(app_of maintainer)" "$(app_of orchestrator)"
    node fly/secrets.mjs begin
    echo "A new ADMIN_KEY is in ${ENV_FILE:-.env}; the old one is ADMIN_KEY_PREVIOUS."
  fi
  for service in "${services[@]}"; do
    app=$(app_of "$service")
    # Who is called learns the new key before the orchestrator, which comes last, uses it.
    node fly/secrets.mjs lines "$service" ADMIN_KEY ADMIN_KEY_PREVIOUS | flyctl secrets import --stage --app "$app" ||
      stop "the keys of $app could not be set." "$again"
    apply "$app" "$again"
    answers 200 "$service" /status ADMIN_KEY || stop "$app does not accept the new key." "flyctl logs --app $app" "$again"
    answers 200 "$service" /status ADMIN_KEY_PREVIOUS ||
      stop "$app does not accept the old key." "flyctl logs --app $app" "$again"
    echo "$app accepts both keys."
  done
  cat << END

Now move everybody who calls the orchestrator to the new key; the old one still works:
  the secret of the GitHub workflow:   gh secret set MEDIPIM_ADMIN_KEY --env sync
  external cron services, scripts, the machine that Fly's own schedule starts
Then: fly/rotate-admin-key.sh --finish
END
}

finish() {
  local again="Then run fly/rotate-admin-key.sh --finish again."
  node fly/secrets.mjs rotating || {
    echo "No rotation is under way: .env has no ADMIN_KEY_PREVIOUS."
    return
  }
  for service in "${services[@]}"; do
    answers 200 "$service" /status ADMIN_KEY ||
      stop "$(app_of "$service") does not accept the new key yet; nothing was removed." \
        "Run fly/rotate-admin-key.sh first."
  done
  for service in "${services[@]}"; do
    app=$(app_of "$service")
    flyctl secrets unset ADMIN_KEY_PREVIOUS --stage --app "$app" ||
      stop "the old key of $app could not be removed." "$again"
    apply "$app" "$again"
    answers 401 "$service" /status ADMIN_KEY_PREVIOUS || stop "$app still accepts the old key, or does not answer." \
      "flyctl logs --app $app" "$again"
    answers 200 "$service" /status ADMIN_KEY || stop "$app does not accept the new key." "flyctl logs --app $app" "$again"
    echo "$app accepts the new key only."
  done
  # Last, so that a stop before it leaves everything to be done again.
  node fly/secrets.mjs end
  echo "The rotation is finished."
}

check_machine
check_env "${services[@]}"
if $finish; then finish; else begin; fi
