#!/usr/bin/env bash
# Statement coverage of the pure packages, by their own tests; fails when one
# of them is under the minimum. A package that is not there yet is skipped.
set -euo pipefail

minimum="${1:-90}"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

packages=()
for name in policy grant task identity rules expression text usage credential refusal lock check; do
  if compgen -G "internal/$name/*.go" >/dev/null; then
    packages+=("./internal/$name")
  fi
done
if ((${#packages[@]} == 0)); then
  echo "cover: there is no pure package yet"
  exit 0
fi

profile="$(mktemp)"
trap 'rm -f "$profile"' EXIT
if ! report="$(go test -count=1 -p 2 -coverprofile="$profile" "${packages[@]}" 2>&1)"; then
  printf '%s\n' "$report" >&2
  exit 1
fi

# A line of the profile: <package>/<file>.go:<from>,<to> <statements> <times run>.
awk -v minimum="$minimum" '
  NR == 1 { next }
  {
    package = $1
    sub(/\/[^\/]*$/, "", package)
    all[package] += $2
    if ($3 > 0) run[package] += $2
  }
  END {
    for (package in all) {
      percent = 100 * run[package] / all[package]
      low = percent < minimum
      failed = failed || low
      printf "cover: %6.1f %%  %s%s\n", percent, package, low ? "  UNDER " minimum " %" : "" | "sort -k4"
    }
    close("sort -k4")
    exit failed
  }' "$profile"
