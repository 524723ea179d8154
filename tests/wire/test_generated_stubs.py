"""The committed stubs are those of the .proto files, made by the pinned toolchain."""

import subprocess
from pathlib import Path

import pytest

import mpc

ROOT = Path(mpc.__file__).parent.parent


def test_stubs_have_not_drifted_from_their_definitions():
    if not (ROOT / ".venv-protos/bin/python").exists():
        pytest.skip("no .venv-protos: `proto/generate.sh --check` makes it and compares (CI does)")
    done = subprocess.run([ROOT / "proto/generate.sh", "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
