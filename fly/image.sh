#!/usr/bin/env bash
# Puts what the image holds into DIR: the compiled services, their package files and their production dependencies. The
# Dockerfile runs this, and so do the tests, without Docker. All three services run from the same folder.
#
#   fly/image.sh DIR && cd DIR/packages/fetcher && node --max-semi-space-size=8 dist/main.js
set -euo pipefail

target=${1:?"usage: fly/image.sh DIR"}
cd "$(dirname "$0")/.."
# What the services import, and the services.
packages=(domain http-api platform fetcher maintainer orchestrator)

npm run build
rm -rf "$target"
mkdir -p "$target"
target=$(cd "$target" && pwd)

cp package.json package-lock.json .npmrc fly/healthcheck.mjs "$target"
for package in "${packages[@]}"; do
  tar -cf - --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='.tsbuildinfo' "packages/$package/package.json" \
    "packages/$package/dist" | tar -xf - -C "$target"
done

cd "$target"
# Neither tools nor Postgres, nor the Redis client that @effect/platform-node names as a peer and we never load.
npm ci --omit=dev --omit=optional --omit=peer --ignore-scripts
# Nobody reads types, source maps or sources in a container: half of the size.
find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete
rm -rf node_modules/effect/src node_modules/effect/ai-docs node_modules/@effect/*/src
# Only npm needed it.
rm .npmrc
# The services run as another user, whatever umask the checkout was made with.
chmod -R a+rX .
