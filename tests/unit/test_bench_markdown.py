"""The README's page of costs: what is on it is what the results file gives."""

import re
from pathlib import Path

import msgspec
import pytest

from mpc.client.bench.markdown import inserted, page
from mpc.client.bench.records import load
from mpc.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def reference():
    (name,) = re.findall(r"<!-- costs of (\S+) -->", README)
    return load((ROOT / "benchmarks" / "results" / name).read_bytes(), name=name), name


def test_the_page_in_the_readme_is_the_one_that_its_results_give():
    results, name = reference()

    assert page(results, name=name) in README


def test_every_section_of_the_page_is_there():
    text = page(*reference()[:1], name="x.json")

    for title in (
        "One operation",
        "One value of a sum",
        "A SQL query",
        "over a wide area",
        "Private scoring",
        "A model",
        "EXPLAIN",
    ):
        assert title in text
    assert text.count("|---") >= 5


def test_another_figure_gives_another_page():
    results, name = reference()
    first = next(r for r in results.rows if r.path.startswith("queries/"))
    slower = msgspec.structs.replace(first, timing=msgspec.structs.replace(first.timing, median_s=77.7))
    changed = msgspec.structs.replace(results, rows=tuple(slower if r is first else r for r in results.rows))

    assert "77.7 s" in page(changed, name=name)
    assert page(changed, name=name) not in README


def test_a_busy_machine_is_said():
    results, name = reference()
    calibration = msgspec.structs.replace(results.calibration, limit=2.0, worst=1.5)

    assert "Provisional" in page(msgspec.structs.replace(results, calibration=calibration), name=name)


def test_a_run_without_a_section_leaves_it_out():
    results, name = reference()
    rows = tuple(r for r in results.rows if not r.path.startswith("learn/"))

    assert "A model" not in page(msgspec.structs.replace(results, rows=rows), name=name)
    assert page(msgspec.structs.replace(results, rows=()), name=name).endswith("<!-- end of costs -->")


def test_a_page_takes_the_place_of_the_last_one():
    made = "<!-- costs of b.json -->\nnew\n<!-- end of costs -->"
    text = "before\n<!-- costs of a.json -->\nold\n<!-- end of costs -->\nafter"

    assert inserted(text, made) == f"before\n{made}\nafter"
    with pytest.raises(ConfigurationError):
        inserted("no place", made)
    with pytest.raises(ConfigurationError):
        inserted(text + text, made)
