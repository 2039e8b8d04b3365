#!/usr/bin/env bash
# Fails when a generated file is not what its source generates today. It
# generates into a temporary folder and compares, so the tree stays as it is.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"/{api/v1alpha1,config/crd/bases,config/rbac}

"${MAKE:-make}" --no-print-directory -s generate OUT="$fresh"

stale=0
for path in api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml docs/api.md; do
  [[ -e "$path" || -e "$fresh/$path" ]] || continue
  diff -ruN "$path" "$fresh/$path" || stale=1
done
if ((stale)); then
  echo "verify-generated: the files above are stale; run 'make generate' and commit what it changes" >&2
  exit 1
fi
echo "verify-generated: deep copies, CRDs, RBAC and the API reference are up to date"
