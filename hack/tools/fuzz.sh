#!/usr/bin/env bash
# Runs every fuzz target of the module for a while, one after another.
set -euo pipefail

fuzztime="${1:-10s}"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for file in $(git ls-files --cached --others --exclude-standard -- '*_test.go'); do
  [[ -f "$file" ]] || continue
  for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
    echo "fuzz: $target in ./$(dirname "$file") for $fuzztime"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "./$(dirname "$file")"
  done
done
