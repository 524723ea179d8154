#!/bin/sh
# Regenerate the message stubs in mpc/wire/v1 from a clean folder. With --check, fail if the committed ones differ.
# The toolchain is the oldest that is promised (dependency group "protos"), in an environment of its own, because
# stubs made by a newer one would not load with the protobuf that users may have.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x .venv-protos/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv-protos
    .venv-protos/bin/python -m pip install --quiet --upgrade "pip>=25.1"
    .venv-protos/bin/python -m pip install --quiet --group protos "setuptools<81"
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
.venv-protos/bin/python -m grpc_tools.protoc -I proto --python_out="$out" --pyi_out="$out" proto/mpc/wire/v1/*.proto
if [ "${1:-}" = "--check" ]; then
    for made in "$out"/mpc/wire/v1/*; do
        cmp "$made" "mpc/wire/v1/$(basename "$made")"
    done
    echo "the stubs are those of the .proto files"
else
    rm -f mpc/wire/v1/*_pb2.py mpc/wire/v1/*_pb2.pyi
    cp "$out"/mpc/wire/v1/* mpc/wire/v1/
fi
