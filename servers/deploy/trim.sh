#!/bin/sh
# Take out of the environment what no node runs: the libraries' own tests, headers, code for graphics cards, and the
# installer. With the word `coordinator` also what a coordinator has no use for: the client, the planner, the other
# daemon, and every module that opens a ciphertext.
set -eu
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$site"
find . -type d -name tests -prune -exec rm -rf {} +
rm -rf numba/cuda numpy/f2py numpy/distutils
rm -rf pyarrow/include pyarrow/src numpy/_core/include pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth
find . -name '*.pyi' -delete -o -name '*.pxd' -delete -o -name '*.a' -delete
rm -f /opt/sealroom/bin/pip*
[ "${1:-}" = coordinator ] || exit 0
rm -rf mpc/client mpc/learn mpc/match mpc/plan mpc/policy mpc/score servers/party /opt/sealroom/bin/sealroom
find mpc \( -path '*/keys/secret.py' -o -path 'mpc/schemes/*secret.py' \) -delete
find mpc -path '*__pycache__/secret.*' -delete
