#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl into bin/
# at the versions that this folder's go.mod pins. What is built already and
# still at the pinned version is left alone.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="$(cd "$here/../.." && pwd)/bin"

if [[ -n "${KUBEBUILDER_ASSETS:-}" ]]; then
  for name in etcd kube-apiserver kube-controller-manager kubectl; do
    if [[ ! -x "$KUBEBUILDER_ASSETS/$name" ]]; then
      echo "controlplane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no executable $name; unset it to build the control plane from source" >&2
      exit 1
    fi
  done
  echo "controlplane: using the binaries in KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
  exit 0
fi

cd "$here"
mkdir -p "$bin"
version="$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
pins="$(cat go.mod go.sum build.sh | git hash-object --stdin) $(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"
stamp="$bin/.controlplane"
if [[ "$(cat "$stamp" 2>/dev/null)" != "$pins" ]]; then
  rm -f "$stamp" "$bin"/{etcd,kube-apiserver,kube-controller-manager,kubectl}
fi

# The version is stamped by the linker, as the release build does it:
# kubectl and the API server report it, clients compare it.
minor="${version#v1.}"
minor="${minor%%.*}"
ldflags="-s -w"
for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  ldflags+=" -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=$minor"
done

build() { # name package
  [[ -x "$bin/$1" ]] && return
  local start=$SECONDS
  echo "controlplane: building $1 from source (once; a few minutes on 2 cores for the first, less for the rest) ..."
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$bin/$1" "$2"
  echo "controlplane: built $1 in $((SECONDS - start)) s"
}

build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
build kubectl k8s.io/kubernetes/cmd/kubectl
echo "$pins" > "$stamp"
