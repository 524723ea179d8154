#!/usr/bin/env bash
# Prepare the image lane: podman, and a base image made here from Debian's packages under the name that the Containerfile
# uses. It needs root and Debian or Ubuntu. Where it cannot, it says so and the lane's tests skip by name.
#   .ci/containers.sh && SEALROOM_IMAGE_LANE=1 pytest tests/e2e/test_containers.py
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CONTAINERS_CONF=$here/containers.conf DEBIAN_FRONTEND=noninteractive
base=docker.io/library/python:3.11-slim

cannot() { echo "SKIPPED LANE: image lane: $1"; exit 0; }
started=$SECONDS
[ "$(id -u)" = 0 ] || cannot "it needs root"
command -v apt-get >/dev/null || cannot "it needs apt-get"
need=()
for program in podman runc netavark aardvark-dns iptables mmdebstrap; do
    [ -n "$(command -v "$program" || ls "/usr/lib/podman/$program" 2>/dev/null)" ] || need+=("$program")
done
if [ "${#need[@]}" -gt 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null || cannot "could not install ${need[*]}"
fi
echo "image lane: programs after $((SECONDS - started)) s"

# The home-made base carries this machine's certificate bundle, so it stays on this machine.
if ! podman image exists "$base"; then
    mmdebstrap -q --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --include=usr-is-merged,python3,python3-venv,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --customize-hook='rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED; ln -s /usr/bin/python3 "$1"/usr/local/bin/python' \
        --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
        bookworm - | podman import -q - "$base" >/dev/null || cannot "the base image could not be made"
fi
echo "image lane: base image after $((SECONDS - started)) s"
