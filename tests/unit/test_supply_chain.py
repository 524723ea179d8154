"""What the program stands on: declared, no more than that, and at the versions that its promises need."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tenseal as ts

import mpc

ROOT = Path(mpc.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared():
    found = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        found += extra
    return {normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in found}


PARTS = {"llvmlite": "numba", "adbc-driver-manager": "adbc-driver-postgresql"}
"""Distributions that come with a declared one, whose other half they are."""


@functools.cache
def trees():
    """Every file of the program that people write, parsed."""
    files = [*(ROOT / "mpc").rglob("*.py"), *(ROOT / "servers").rglob("*.py")]
    named = {f.relative_to(ROOT).as_posix(): f for f in files}
    return {n: ast.parse(f.read_text(encoding="utf-8")) for n, f in named.items() if "wire/v1" not in n}


@functools.cache
def imported():
    """Top-level modules that the program names, with the files that name them."""
    found = {}
    for place, tree in trees().items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(place)
    return found


def beside(places):
    """The places that are not shipped test doubles or measurements."""
    return {p for p in places if "/testing/" not in p and "/bench/" not in p}


def test_everything_that_is_imported_is_declared():
    owners, known = packages_distributions(), declared()
    missing = {}
    for module, places in imported().items():
        if module in sys.stdlib_module_names or module in {"mpc", "servers"}:
            continue
        distributions = {normal(d) for d in owners.get(module, [module])}
        distributions |= {PARTS[d] for d in distributions & PARTS.keys()}
        # A measurement of another library needs that library, and skips by name without it.
        if not distributions & known and beside(places):
            missing[module] = sorted(places)

    assert not missing


def test_every_dependency_has_a_lower_bound():
    for line in PROJECT["project"]["dependencies"]:
        assert ">=" in line, line


def test_the_seal_that_is_bundled_is_at_least_the_one_whose_weaknesses_are_gated():
    """SEAL writes its version behind the magic of every object: bytes two and three after the length of the header."""
    context = ts.context(ts.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193, n_threads=1)
    data = ts.bfv_vector(context, [1]).serialize()
    at = data.index(b"\x5e\xa1")

    assert (data[at + 3], data[at + 4]) >= (4, 3)


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_no_part_reads_pickles(module):
    assert not beside(imported().get(module, ()))


@pytest.mark.parametrize("call", ["eval", "exec", "compile", "__import__"])
def test_no_part_evaluates_text(call):
    for place, tree in trees().items():
        for node in ast.walk(tree):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == call
            assert not named, f"{place}:{getattr(node, 'lineno', 0)}"


INVENTED_DATA = {f"mpc/client/{name}.py" for name in ("compose", "demo_data", "demo_recommender")}
"""Files that make up example tables: nobody's secret."""


def test_generators_that_can_be_predicted_draw_nothing_but_invented_data():
    assert not beside(imported().get("random", ()))
    for place, tree in trees().items():
        for node in ast.walk(tree):
            drawn = isinstance(node, ast.Attribute) and node.attr == "random" and isinstance(node.value, ast.Name)
            if drawn and node.value.id in {"np", "numpy"}:
                assert place in INVENTED_DATA or not beside({place}), f"{place}:{node.lineno}"
