"""Kernels compiled by different processes, loaded by one: every part keeps its meaning."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpc.errors import ConfigurationError
from mpc.schemes.rlwe.kernels.compiled import inlined
from mpc.schemes.rlwe.kernels.host import host_has_ifma

COMPILE = """
import itertools, sys
from numba import int64, void
from numba.core.bytecode import FunctionIdentity
from mpc.params import parameter_set
from mpc.schemes.rlwe import secret, warm
from mpc.schemes.rlwe.kernels import transform

# numba numbers functions as it meets them; here both processes number the two arithmetics alike, the other way round.
FunctionIdentity._unique_ids = itertools.count(1000)
both = [transform._forward_ifma, transform._forward_floating]
for part in both if sys.argv[1] == "first" else reversed(both):
    part.compile(void(int64, int64, int64, int64))
(warm.warm_encryption if sys.argv[1] == "first" else secret.warm_symmetric)([parameter_set("rlwe-4096-t60")])
"""

CHECK = """
from mpc.params import parameter_set
from mpc.schemes.rlwe.ring import Arithmetic
from tests.vectors.test_rlwe_vectors import _FILE, answer

for known in _FILE["answers"]:
    for arithmetic in Arithmetic:
        assert answer(parameter_set(known["parameter_set"]), arithmetic) == known, (known["parameter_set"], arithmetic)
"""


@pytest.mark.skipif(not host_has_ifma(), reason="this processor has no AVX-512 IFMA: there is one arithmetic")
def test_kernels_that_different_processes_compiled_go_together(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    for code, argument in ((COMPILE, "first"), (COMPILE, "second"), (CHECK, "")):
        done = subprocess.run(
            [sys.executable, "-c", code, argument],
            capture_output=True, text=True, timeout=300, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_two_compiled_functions_of_one_name_are_refused():
    def part(x):
        return x

    inlined(part)
    with pytest.raises(ConfigurationError):
        inlined(part)
