"""The README's code, run as it stands."""

import contextlib
import io
import re
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("readme")]


def blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def write_data(folder):
    rng = np.random.default_rng(1)
    for number, name in enumerate(("north", "south")):
        rows = 300
        sales = {"region": rng.choice(["a", "b", "c"], rows), "amount": np.round(rng.normal(50, 9, rows), 2)}
        pq.write_table(pa.table(sales), folder / f"{name}.parquet")
        user = np.repeat(np.arange(60) + 1000 * number, 12)
        item = np.concatenate([rng.choice(25, 12, replace=False) for _ in range(60)])
        ratings = {"userId": user, "movieId": item, "rating": rng.choice([3.0, 4.0, 5.0], len(user))}
        pq.write_table(pa.table(ratings), folder / f"{name}-ratings.parquet")


def test_the_python_examples_run(tmp_path, monkeypatch):
    asking, training, scoring = blocks()
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("north", "south"):
        asking = asking.replace(
            f'{{"sales": "{name}.parquet"}}', f'{{"sales": "{name}.parquet", "ratings": "{name}-ratings.parquet"}}'
        )
    found = {}

    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(asking + textwrap.indent(training, "    "), "README.md", "exec"), found)
    scored = {}
    with contextlib.redirect_stdout(out):
        exec(compile(scoring, "README.md", "exec"), scored)

    assert {r["region"] for r in found["answer"].rows} == {"a", "b", "c"}
    assert found["run"].model.weights.shape[0] > 5
    assert "who learns what" in out.getvalue()
    assert scored["answer"].rows[0]["item"] == 7


def test_the_commands_of_the_readme_exist():
    from typer.main import get_command

    from mpc.client.cli.main import build

    tree = get_command(build())
    text = README.read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    sealroom ")]
    assert len(lines) > 12
    for line in lines:
        node = tree
        for word in line.split()[1:]:
            if not hasattr(node, "commands") or word not in node.commands:
                break
            node = node.commands[word]
        assert not hasattr(node, "commands"), line
