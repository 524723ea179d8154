#!/bin/sh
# Take out of the environment what no node runs: the libraries' own tests, headers, code for graphics cards, and the
# installer.
set -eu
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$site"
find . -type d -name tests -prune -exec rm -rf {} +
rm -rf numba/cuda numpy/f2py
rm -rf pyarrow/include pyarrow/src numpy/_core/include pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth
find . -name '*.pyi' -delete -o -name '*.pxd' -delete -o -name '*.a' -delete
rm -f /opt/sealroom/bin/pip*
