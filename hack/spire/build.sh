#!/usr/bin/env bash
# Builds spire-server, spire-agent and SPIRE's OIDC discovery provider into
# bin/spire at the version that this folder's go.mod pins. The server keeps its
# records in SQLite, which is C: without a C compiler nothing is built. What is
# built already and still at the pinned version is left alone.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
out="$(cd "$here/../.." && pwd)/bin/spire"
programs=(spire-server spire-agent oidc-discovery-provider)
export CGO_ENABLED=1

cd "$here"
# What is in a go.mod, go.sum, this script and the compilers makes the programs.
cc="$(go env CC)"
pins="$(cat go.mod go.sum build.sh | git hash-object --stdin) $(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"
stamp="$out/.spire"
if [[ "$(cat "$stamp" 2>/dev/null)" == "$pins" ]]; then
  exit 0
fi
# CC may carry flags, as in CC="ccache gcc".
if ! command -v "${cc%% *}" > /dev/null; then
  echo "spire: there is no C compiler ($cc), and spire-server needs one: install gcc, or name yours in CC" >&2
  exit 3
fi
mkdir -p "$out"
rm -f "$stamp" "${programs[@]/#/$out/}"

build() { # output package
  local start=$SECONDS
  echo "spire: building spire/${1#"$out"/} from source (once; it is large: many minutes on 2 cores, less for those after it) ..."
  go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$1" "$2"
  echo "spire: built spire/${1#"$out"/} in $((SECONDS - start)) s"
}

build "$out/spire-server" github.com/spiffe/spire/cmd/spire-server
build "$out/spire-agent" github.com/spiffe/spire/cmd/spire-agent
build "$out/oidc-discovery-provider" github.com/spiffe/spire/support/oidc-discovery-provider
echo "$pins" > "$stamp"
