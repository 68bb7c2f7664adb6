#!/usr/bin/env bash
# Deploys the three apps to Fly.io. docs/fly-deployment.md tells the whole way.
set -euo pipefail
# shellcheck source=fly/apps.sh
source "$(dirname "$0")/apps.sh"

usage() {
  cat << 'END'
fly/deploy.sh [--yes] [--only SERVICE] [--keep-secrets] [--new-key] [--dry-run] [--help]

Creates the apps that are missing, sets the secrets of each from .env, deploys fetcher, maintainer and orchestrator in this
order, and waits until each is healthy. Can be repeated at any time: what is there already is not made again.

  --yes             does not ask
  --only SERVICE    fetcher, maintainer, orchestrator or all; may be given more than once
  --keep-secrets    deploys the code and leaves secrets as they are; needs no .env, and no app may be missing
  --new-key         puts the ADMIN_KEY of .env in the place of one that was lost; without this, a key that the orchestrator
                    does not know stops the deployment, and fly/rotate-admin-key.sh is the way to another one
  --dry-run         shows the commands; changes nothing

Environment: FLY_ORG, the organization of new apps (that of .env, or personal); FLY_API_TOKEN instead of a login; ENV_FILE
instead of .env.
END
}

yes=false dry=false secrets=true new_key=false only=()
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=true ;;
    --dry-run) dry=true ;;
    --keep-secrets) secrets=false ;;
    --new-key) new_key=true ;;
    --only)
      case ${2:-} in
        fetcher | maintainer | orchestrator) only+=("$2") ;;
        all) only+=("${services[@]}") ;;
        *) stop "--only takes fetcher, maintainer, orchestrator or all." "fly/deploy.sh --help" ;;
      esac
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) stop "there is no option $1." "fly/deploy.sh --help" ;;
  esac
  shift
done
again="Then run fly/deploy.sh again: it goes on where it stopped."
! $new_key || again="Then run fly/deploy.sh again, with --new-key: it goes on where it stopped."

chosen=()
for service in "${services[@]}"; do
  [[ ${#only[@]} -gt 0 && " ${only[*]} " != *" $service "* ]] || chosen+=("$service")
done

# Shows a command and, unless this is a dry run, runs it.
run() {
  printf '$ %s\n' "$*"
  $dry || "$@"
}

# A dry run checks .env and shows the commands on a machine without flyctl, too.
offline=false
if $dry && ! command -v flyctl > /dev/null; then
  offline=true
  need node "Install Node 20.12 or newer"
  echo "There is no flyctl: Fly is not asked, and all apps count as new."
else
  check_machine
fi
if $secrets; then
  check_env "${chosen[@]}"
  unsent=$(node fly/secrets.mjs unsent)
  [ -z "$unsent" ] || echo "Not sent to Fly: $unsent. Set what the apps need under [env] in fly/*.toml."
fi
FLY_ORG=${FLY_ORG:-$(node fly/secrets.mjs organization)}
existing=""
$offline || existing=$(flyctl apps list --quiet | awk '{ print $1 }') || stop "flyctl cannot list your apps." "flyctl apps list"
missing=() deployed=()
for service in "${services[@]}"; do
  app=$(app_of "$service")
  if grep -qx -- "$app" <<< "$existing"; then
    deployed+=("$app")
  elif [[ " ${chosen[*]} " == *" $service "* ]]; then
    missing+=("$service")
  fi
done
if ! $secrets && [ ${#missing[@]} -gt 0 ]; then
  stop "there is no app for: ${missing[*]}." "Run fly/deploy.sh without --keep-secrets once, from a machine with a .env."
fi
if $secrets && ! $new_key; then
  # In the middle of a rotation, the orchestrator may know the previous one alone.
  if [[ " ${deployed[*]-} " == *" $(app_of orchestrator) "* ]] && refuses orchestrator ADMIN_KEY &&
    refuses orchestrator ADMIN_KEY_PREVIOUS; then
    stop "the orchestrator does not know the ADMIN_KEY of ${ENV_FILE:-.env}: another one is in use. Nothing was changed." \
      "Put the key in use into the file. To change it afterwards: fly/rotate-admin-key.sh" \
      "Is that key lost: fly/deploy.sh --new-key, as docs/disaster-recovery.md tells"
  fi
  check_rotation ${deployed[@]+"${deployed[@]}"}
fi

if ! $yes && ! $dry; then
  [ -t 0 ] || stop "there is no terminal to confirm on." "fly/deploy.sh --yes"
  read -rp "Deploy ${chosen[*]} (new in organization $FLY_ORG: ${missing[*]:-none})? [y/N] " answer ||
    stop "no answer came; nothing was changed." "fly/deploy.sh, or with --yes"
  [[ $answer == [yY]* ]] || stop "as you wish; nothing was changed."
fi

for service in ${missing[@]+"${missing[@]}"}; do
  app=$(app_of "$service")
  run flyctl apps create "$app" --org "$FLY_ORG" ||
    stop "the app $app could not be created." \
      "Is FLY_ORG=$FLY_ORG the slug of your organization? flyctl orgs list" \
      "Is the name taken by somebody else? Choose another one in fly/$service.toml (app = ...)," \
      "and in the four addresses of fly/orchestrator.toml." "$again"
done

if $secrets; then
  for service in "${chosen[@]}"; do
    app=$(app_of "$service")
    # Staged: they take effect with the deployment below, together.
    printf '$ flyctl secrets import --stage --app %s  # %s\n' "$app" "$(node fly/secrets.mjs names "$service")"
    $dry || node fly/secrets.mjs lines "$service" | flyctl secrets import --stage --app "$app" ||
      stop "the secrets of $app could not be set." "Look at it: flyctl secrets list --app $app" "$again"
  done
fi

for service in "${chosen[@]}"; do
  app=$(app_of "$service")
  # Built by Fly, so nobody needs Docker. One machine each: a second one would sleep beside the first.
  run flyctl deploy . --config "fly/$service.toml" --app "$app" --remote-only --ha=false --yes ||
    stop "$app could not be deployed; the machines before it run the new code, those after it the old one." \
      "See why: flyctl logs --app $app --no-tail" "$again"
  $dry || answers 200 "$service" /healthz ||
    stop "$app is deployed but not healthy at $(address_of "$service")/healthz." \
      "See why: flyctl logs --app $app --no-tail; flyctl status --app $app" \
      "Back to the release before: flyctl releases --app $app --image," \
      "then flyctl deploy . --config fly/$service.toml --app $app --image IMAGE" "$again"
  $dry || echo "$app is healthy."
done

$dry && exit
cat << END

Deployed. Next:
  A first sync, and its progress:
    export ADMIN_KEY=... ORCHESTRATOR_URL=$(address_of orchestrator)
    npm run -s medipim -- sync
    curl -s \$ORCHESTRATOR_URL/status -H "X-ADMIN-KEY: \$ADMIN_KEY" | jq .progress
  Every night at 2 AM in Sydney, by GitHub:
    gh secret set MEDIPIM_ADMIN_KEY --env sync
  What is going on:
    flyctl logs --app $(app_of orchestrator)
END
