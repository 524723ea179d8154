#!/usr/bin/env bash
# Prepare the image lane: podman, and a base image made here from Debian's packages under the name that the Containerfile
# uses. It needs root, Debian or Ubuntu, and a package index that a container can reach. Where it cannot, it says why and
# ends with 1; every wait is bounded. Used by .ci/run and by `make images`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CONTAINERS_CONF=$here/containers.conf DEBIAN_FRONTEND=noninteractive
base=docker.io/library/python:3.11-slim
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PATH=$PATH:/usr/sbin:/sbin # iptables
started=$SECONDS

cannot() {
    local said
    said=$(grep -v '^ *$' "$scratch/said" 2>/dev/null | tail -n 1 | cut -c 1-200 || true)
    echo "SKIPPED LANE images: $1${said:+ ($said)}"
    exit 1
}
# Run a command within seconds; what it says is shown only if the lane is given up.
within() { timeout "$@" >"$scratch/said" 2>&1 </dev/null; }

[ "$(id -u)" = 0 ] || cannot "it needs root"
command -v apt-get >/dev/null || cannot "it needs apt-get"
need=()
for program in podman runc netavark aardvark-dns iptables mmdebstrap; do
    [ -n "$(command -v "$program" || ls "/usr/lib/podman/$program" 2>/dev/null)" ] || need+=("$program")
done
if [ "${#need[@]}" -gt 0 ]; then
    { within 120 apt-get update -qq && within 240 apt-get install -y -qq --no-install-recommends "${need[@]}"; } \
        || cannot "could not install ${need[*]}"
fi
command -v docker-compose >/dev/null || within 120 apt-get install -y -qq --no-install-recommends docker-compose || true
echo "image lane: programs after $((SECONDS - started)) s"

# May this machine start a container at all? An empty root with the machine's own programs costs half a second.
mkdir -p "$scratch/rootfs"/{usr,proc,sys,dev,etc,tmp,run}
ln -s usr/bin usr/lib usr/lib64 "$scratch/rootfs/"
within 60 podman run --rm -v /usr:/usr:ro --rootfs "$scratch/rootfs" /usr/bin/true || cannot "podman cannot start a container"

# The home-made base carries this machine's certificate bundle, so it stays on this machine.
if ! podman image exists "$base"; then
    within 420 mmdebstrap -q --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --include=usr-is-merged,python3,python3-venv,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --customize-hook='rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED; ln -s /usr/bin/python3 "$1"/usr/local/bin/python' \
        --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
        bookworm "$scratch/base.tar" || cannot "the base image could not be made"
    within 120 podman import -q "$scratch/base.tar" "$base" || cannot "the base image could not be imported"
fi
echo "image lane: base image after $((SECONDS - started)) s"

within 120 podman run --rm "$base" sh -c 'python -m venv /tmp/v && /tmp/v/bin/pip download -q --no-deps -d /tmp tomli-w' \
    || cannot "a container reaches no package index"
echo "image lane: ready after $((SECONDS - started)) s"
