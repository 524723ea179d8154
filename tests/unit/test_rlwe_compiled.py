"""Kernels compiled by different processes, loaded by one: every part keeps its meaning."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from numba import config

from mpc.errors import ConfigurationError
from mpc.schemes.rlwe.kernels import compiled as compiling
from mpc.schemes.rlwe.kernels.compiled import compiled
from mpc.schemes.rlwe.kernels.host import host_has_ifma

COMPILE = """
import itertools, sys
from numba import none, boolean, uint64
from numba.core.bytecode import FunctionIdentity
from mpc.params import parameter_set
from mpc.schemes.rlwe import secret, warm
from mpc.schemes.rlwe.kernels import transform

# numba numbers functions as it meets them; here both processes number the two arithmetics alike, the other way round.
FunctionIdentity._unique_ids = itertools.count(1000)
block, row = uint64[:, ::1], uint64[::1]
for portable in (none, boolean) if sys.argv[1] == "first" else (boolean, none):
    transform.forward.compile((block, block, row, portable))
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

    compiled(part)
    with pytest.raises(ConfigurationError):
        compiled(part)


COUNT = """
import sys, time
from numba.core import event
from mpc.params import parameter_set
from mpc.schemes.rlwe import secret, warm

with event.install_recorder("numba:compile") as seen:
    warm.warm_addition([parameter_set(sys.argv[1])])
    secret.warm_opening([parameter_set(sys.argv[1])])
print(*sorted(e.data["dispatcher"].py_func.__qualname__ for _, e in seen.buffer if e.is_start), sep="\\n")
"""


def test_processes_share_the_compiling_of_every_part(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, "rlwe-2048-t30"], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    outputs = [one.communicate(timeout=300)[0].split() for one in started]
    assert [one.returncode for one in started] == [0, 0]
    compiled_by = [{name for name in output if "." not in name} for output in outputs]  # the others are numba's own
    assert {"accumulate_row", "open_block", "forward", "inverse", "make_key"} <= compiled_by[0] | compiled_by[1]
    assert not compiled_by[0] & compiled_by[1]


def test_threads_that_import_kernels_at_once_do_not_exchange_their_directories(monkeypatch):
    inside, most = [], []

    def slow_njit(**options):
        inside.append(options)
        most.append(len(inside))
        time.sleep(0.2)
        directory = config.CACHE_DIR
        inside.pop()
        return lambda function: SimpleNamespace(py_func=function, compile=None, directory=directory)

    monkeypatch.setattr(compiling, "njit", slow_njit)

    def one(x):
        return x

    def other(x):
        return x

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(compiled, (one, other)))
    assert most == [1, 1]
    assert {part.directory for part in made} == {str(compiling.cache_directory())}
    assert not config.CACHE_DIR
