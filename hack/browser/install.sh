#!/usr/bin/env bash
# Installs axe-core, whose rules the tests in a browser hold the page to, into
# bin/browser, once. It is not part of any program of ours.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

AXE=4.14.1
dir=bin/browser

if grep -qs "\"version\": \"$AXE\"" "$dir/node_modules/axe-core/package.json"; then
  exit 0
fi
if ! command -v npm >/dev/null; then
  echo "axe-core was not installed: there is no npm (apt-get install npm)" >&2
  exit 3
fi
mkdir -p "$dir"
# A package.json of its own, or npm would look for one in the folders above. No lock
# file: it is one package with no dependency, of one version.
echo '{"private": true}' >"$dir/package.json"
npm install --prefix "$dir" --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error "axe-core@$AXE"
