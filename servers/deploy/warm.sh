#!/bin/sh
# Compile the kernels of the parameter sets in WARM into /kernels. usage: warm.sh MODULE_WITH_STAGES
set -eu
umask 077
mkdir -p /kernels
[ -n "${WARM:-}" ] || exit 0
cd /opt/sealroom
NUMBA_CACHE_DIR=/kernels python -c '
import importlib, sys
from mpc.runtime.warming import warm_kernels
warm_kernels(sys.argv[2:], importlib.import_module(sys.argv[1]).STAGES)
' "$1" $WARM
