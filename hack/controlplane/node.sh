#!/usr/bin/env bash
# Builds kubelet, kube-scheduler and kube-proxy of the Kubernetes that this
# folder's go.mod pins into bin/, beside its control plane; with an argument such
# as 1.34, those of the older one into bin/1.34. Then it makes bin/node: containerd
# of runtime/go.mod, kube-router of router/go.mod, the image of a pause process,
# and runc, the CNI plugins, nft, iptables and ipset from Debian's packages, which
# are unpacked there and not installed. What is there already and still at the
# pinned version is left alone.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bin="$(cd "$here/../.." && pwd)/bin"
out="$bin/node"
export CGO_ENABLED=0

kubernetes=(kubelet kube-scheduler kube-proxy)
containerd=(containerd containerd-shim-runc-v2 ctr)
# Those that may be missing on a machine, with their libraries.
packages=(runc libseccomp2 containernetworking-plugins nftables libnftables1 libnftnl11 libmnl0
  libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6 libxtables12
  iptables libip4tc2 libip6tc2 libnetfilter-conntrack3 libnfnetlink0 ipset libipset13)
# Debian links these names when a package is installed. kube-proxy's rules are
# nftables', and so are these programs' then.
xtables=(iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore)

if [[ "$(go env GOOS)" != linux ]]; then
  echo "node: a node needs Linux, this is $(go env GOOS)" >&2
  exit 1
fi

build() { # output package ldflags
  [[ -x "$1" ]] && return
  local start=$SECONDS
  echo "node: building ${1#"$bin"/} from source (once) ..."
  go build -trimpath -buildvcs=false -ldflags "$3" -o "$1" "$2"
  echo "node: built ${1#"$bin"/} in $((SECONDS - start)) s"
}

# fresh tells whether what pins something is what it was at the last build.
fresh() { # stamp pins
  [[ "$(cat "$1" 2>/dev/null)" == "$2" ]]
}

go_is="$(go env GOVERSION GOOS GOARCH | tr '\n' ' ')"

# version builds what runs on a node of a Kubernetes.
version() { # module output
  cd "$1"
  mkdir -p "$2"
  local pins stamp="$2/.node"
  pins="$(cat go.mod go.sum "$here/node.sh" | git hash-object --stdin) $go_is"
  fresh "$stamp" "$pins" || rm -f "$stamp" "${kubernetes[@]/#/$2/}"
  # As in build.sh: the version is stamped by the linker.
  local version minor name pkg ldflags="-s -w"
  version="$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
  minor="${version#v1.}"
  for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=${minor%%.*}"
  done
  for name in "${kubernetes[@]}"; do
    build "$2/$name" "k8s.io/kubernetes/cmd/$name" "$ldflags"
  done
  echo "$pins" > "$stamp"
}

unpack() {
  [[ -x "$out/packages/usr/sbin/runc" ]] && return
  if ! command -v apt-get > /dev/null || ! command -v dpkg > /dev/null; then
    echo "node: runc, the CNI plugins, nft, iptables and ipset come from Debian's or Ubuntu's packages, and apt-get or dpkg is missing" >&2
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
  for name in "${xtables[@]}"; do
    ln -s xtables-nft-multi "$out/packages.new/usr/sbin/$name"
  done
  rm -rf "$out/packages" "$out"/packages.new/usr/share
  mv "$out/packages.new" "$out/packages"
}

older="${1:-}"
if [[ -n "$older" ]] && ! grep -qs cmd/kubelet "$here/$older/go.mod"; then
  echo "node: no kubelet of Kubernetes $older is pinned; there are $(cd "$here" && grep -l cmd/kubelet [0-9]*/go.mod | xargs dirname | xargs)" >&2
  exit 2
fi
version "$here${older:+/$older}" "$bin${older:+/$older}"

mkdir -p "$out/images"
cd "$here/runtime"
stamp="$out/.pins"
pins="$(cat go.mod go.sum ./*/*.go ../router/go.mod ../router/go.sum ../node.sh | git hash-object --stdin) $go_is"
if ! fresh "$stamp" "$pins"; then
  rm -f "$stamp" "${containerd[@]/#/$out/}" "$out/kube-router" "$out/image" "$out/pause" "$out/images/pause.tar"
  rm -rf "$out/packages" "$out/packages.new"
fi
for name in "${containerd[@]}"; do
  build "$out/$name" "github.com/containerd/containerd/v2/cmd/$name" "-s -w"
done
for name in image pause; do
  build "$out/$name" "./$name" "-s -w"
done
cd ../router
build "$out/kube-router" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router "-s -w"
unpack
[[ -e "$out/images/pause.tar" ]] || "$out/image" -out "$out/images/pause.tar" -image access-broker-pause:latest -binary "$out/pause"
echo "$pins" > "$stamp"
