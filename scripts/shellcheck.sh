#!/bin/sh
# Lints the shell scripts. npm has no package that holds shellcheck; Debian has one.
if ! command -v shellcheck > /dev/null; then
  echo "npm run check needs shellcheck: apt-get install shellcheck (or brew install shellcheck)" >&2
  exit 1
fi
cd "$(dirname "$0")/.." && exec shellcheck --external-sources --source-path=SCRIPTDIR .ci/run fly/*.sh scripts/*.sh
