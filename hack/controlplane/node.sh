#!/usr/bin/env bash
# Makes bin/node: kubelet, kube-scheduler and kube-proxy of the Kubernetes that
# this folder's go.mod pins, containerd of runtime/go.mod, the images of the
# broker and of a pause process, and runc, the CNI plugins and nft from Debian's
# packages, which are unpacked there and not installed. What is there already
# and still at the pinned version is left alone, but for the broker's image.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="$(cd "$here/../.." && pwd)/bin"
out="$bin/node"
export CGO_ENABLED=0

kubernetes=(kubelet kube-scheduler kube-proxy)
containerd=(containerd containerd-shim-runc-v2 ctr)
# Those that may be missing on a machine, with their libraries.
packages=(runc libseccomp2 containernetworking-plugins nftables libnftables1 libnftnl11 libmnl0
  libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6 libxtables12)

if [[ "$(go env GOOS)" != linux ]]; then
  echo "node: a node needs Linux, this is $(go env GOOS)" >&2
  exit 1
fi

build() { # output package ldflags
  [[ -x "$out/$1" ]] && return
  local start=$SECONDS
  echo "node: building $1 from source (once) ..."
  go build -trimpath -buildvcs=false -ldflags "$3" -o "$out/$1" "$2"
  echo "node: built $1 in $((SECONDS - start)) s"
}

unpack() {
  [[ -x "$out/packages/usr/sbin/runc" ]] && return
  if ! command -v apt-get > /dev/null || ! command -v dpkg > /dev/null; then
    echo "node: runc, the CNI plugins and nft come from Debian's or Ubuntu's packages, and apt-get or dpkg is missing" >&2
    exit 1
  fi
  local folder
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' RETURN
  echo "node: downloading Debian packages (once, 11 MB; nothing is installed) ..."
  if ! (cd "$folder" && apt-get download -q "${packages[@]}" > apt.log 2>&1); then
    cat "$folder/apt.log" >&2
    echo "node: the packages could not be downloaded; the lists may be old: apt-get update" >&2
    exit 1
  fi
  for package in "$folder"/*.deb; do
    dpkg -x "$package" "$out/packages.new"
  done
  rm -rf "$out/packages" "$out"/packages.new/usr/share
  mv "$out/packages.new" "$out/packages"
}

image() { # file image binary
  [[ "$out/images/$1.tar" -nt "$3" ]] || "$out/image" -out "$out/images/$1.tar" -image "$2" -binary "$3"
}

mkdir -p "$out/images"
cd "$here"
stamp="$out/.pins"
pins="$(cat go.mod go.sum runtime/go.mod runtime/go.sum runtime/*/*.go node.sh | git hash-object --stdin) $(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"
if [[ "$(cat "$stamp" 2>/dev/null)" != "$pins" ]]; then
  rm -f "$stamp" "${kubernetes[@]/#/$out/}" "${containerd[@]/#/$out/}" "$out/image" "$out/pause"
  rm -rf "$out/packages" "$out/packages.new"
fi

# As in build.sh: the version is stamped by the linker.
version="$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
minor="${version#v1.}"
ldflags="-s -w"
for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  ldflags+=" -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=${minor%%.*}"
done
for name in "${kubernetes[@]}"; do
  build "$name" "k8s.io/kubernetes/cmd/$name" "$ldflags"
done
cd runtime
for name in "${containerd[@]}"; do
  build "$name" "github.com/containerd/containerd/v2/cmd/$name" "-s -w"
done
for name in image pause; do
  build "$name" "./$name" "-s -w"
done
unpack
echo "$pins" > "$stamp"

image pause access-broker-pause:latest "$out/pause"
image access-broker access-broker:latest "$bin/access-broker"
