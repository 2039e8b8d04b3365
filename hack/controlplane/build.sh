#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl into bin/
# at the versions that this folder's go.mod pins, the newest. With arguments
# such as 1.30 it also builds the older control planes that the folders of those
# names pin, each into bin/VERSION, with the newest's etcd. What is built
# already and still at the pinned version is left alone.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="$(cd "$here/../.." && pwd)/bin"
kubernetes=(kube-apiserver kube-controller-manager kubectl)

if [[ -n "${KUBEBUILDER_ASSETS:-}" ]]; then
  for name in etcd "${kubernetes[@]}"; do
    if [[ ! -x "$KUBEBUILDER_ASSETS/$name" ]]; then
      echo "controlplane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no executable $name; unset it to build the control plane from source" >&2
      exit 1
    fi
  done
  echo "controlplane: using the binaries in KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
  exit 0
fi

build() { # output package ldflags
  [[ -x "$1" ]] && return
  local start=$SECONDS
  echo "controlplane: building ${1#"$bin"/} from source (once; a few minutes on 2 cores for the first, less for the rest) ..."
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$3" -o "$1" "$2"
  echo "controlplane: built ${1#"$bin"/} in $((SECONDS - start)) s"
}

# version builds what the go.mod in a folder pins into another folder.
version() { # module output
  cd "$1"
  mkdir -p "$2"
  local pins stamp="$2/.controlplane"
  pins="$(cat go.mod go.sum "$here/build.sh" | git hash-object --stdin) $(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"
  if [[ "$(cat "$stamp" 2>/dev/null)" != "$pins" ]]; then
    rm -f "$stamp" "${kubernetes[@]/#/$2/}" "$2/etcd"
  fi
  # The version is stamped by the linker, as the release build does it:
  # kubectl and the API server report it, clients compare it.
  local version minor pkg ldflags="-s -w"
  version="$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
  minor="${version#v1.}"
  for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=${minor%%.*}"
  done
  if [[ "$1" == "$here" ]]; then
    build "$2/etcd" go.etcd.io/etcd/server/v3 "-s -w"
  else
    ln -sf ../etcd "$2/etcd"
  fi
  for name in "${kubernetes[@]}"; do
    build "$2/$name" "k8s.io/kubernetes/cmd/$name" "$ldflags"
  done
  echo "$pins" > "$stamp"
}

version "$here" "$bin"
for older in "$@"; do
  if [[ ! -f "$here/$older/go.mod" ]]; then
    echo "controlplane: no control plane $older is pinned; there are $(cd "$here" && echo [0-9]*)" >&2
    exit 2
  fi
  version "$here/$older" "$bin/$older"
done
