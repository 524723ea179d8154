#!/bin/sh
# Renew a member's certificate where its container sees it. File secrets are mounted by inode, so the new files are
# written into the old ones; a node reads the pair anew at its next handshake, and waits while the two do not match.
# usage: renew-certificate.sh MEMBER_FOLDER
set -eu
folder=${1:?usage: renew-certificate.sh MEMBER_FOLDER}
role=
for candidate in party coordinator analyst; do
    if [ -f "$folder/$candidate.toml" ]; then role=$candidate; fi
done
[ -n "$role" ] || { echo "$folder is not a member's folder" >&2; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -p "$folder/$role.toml" "$work/"
cp -rp "$folder/keys" "$work/keys"
sealroom "$role" certificate renew --folder "$work" >/dev/null
for file in tls.key tls.pem; do
    cat "$work/keys/$file" > "$folder/keys/$file"
done
echo "renewed; the node takes it up at the next connection"
