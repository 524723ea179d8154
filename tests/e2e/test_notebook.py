"""What a notebook shows, executed cell by cell in a real kernel: plan, answer, analysis, training, and a refusal."""

import re
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("notebook")]

ROOT = Path(__file__).parents[2]
CELLS = {
    "set up": """
import pyarrow as pa
from mpc.client import LocalRoom
from mpc.learn import Holdout, LinearRegression

def sales(k):
    numbers = [float(i) for i in range(400)]
    keys, regions = list(range(400 * k, 400 * k + 400)), ["<b>alps</b>", "coast"] * 200
    return pa.table({"id": keys, "region": regions, "x": numbers, "y": [2.0 * x + k for x in numbers]})

room = LocalRoom({name: {"sales": sales(k)} for k, name in enumerate(("north", "south", "west"))}).__enter__()
client = room.client()
held = Holdout(5, columns=("id",))
spec = LinearRegression(table="sales", target="y", features=("x",), regularization=0.0, holdout=held)
""",
    "plan": 'client.explain("SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region")',
    "answer": 'client.sql("SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region")',
    "analysis": 'client.explain_analyze("SELECT AVG(x) AS mean FROM sales")',
    "training plan": "client.explain_training(spec)",
    "training": "run = client.train(spec)\nrun.wait()\nrun",
    "job": "run.report",
    "refusal": 'client.sql("SELECT MIN(x) AS m FROM sales")',
    "end": "room.__exit__(None, None, None)",
}


class Tags(HTMLParser):
    """Names of elements and attributes, and whether every element that opens also closes."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], set(), set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def shown():
    """By cell: the HTML of its result, or the name of what it raised."""
    cells = [nbformat.v4.new_code_cell(text, id=name.replace(" ", "-")) for name, text in CELLS.items()]
    cells[list(CELLS).index("refusal")].metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    found = {}
    for name, cell in zip(CELLS, notebook.cells, strict=True):
        results = [o for o in cell.outputs if o.output_type in {"execute_result", "error"}]
        if results:
            found[name] = results[-1].data["text/html"] if "data" in results[-1] else results[-1].ename
    return found


PLAIN = {"b", "br", "code", "details", "li", "p", "pre", "progress", "small", "summary", "ul"}
PLAIN |= {"table", "tbody", "td", "th", "thead", "tr"}

SAYS = {
    "plan": ("Who learns what", "coordinator", "analyst", "COUNT(*)", "per party"),
    "answer": ("&lt;b&gt;alps&lt;/b&gt;", "600", "rlwe", "north, south, west"),
    "analysis": ("predicted", "measured", "mean", "Plan"),
    "training plan": ("Who learns what", "What enters", "each party sends"),
    "training": ("ended", "Quality on the hold-out", "progress"),
    "job": ("north, south, west", "Who learns what"),
}


@pytest.mark.parametrize("name", SAYS)
def test_a_cell_shows_what_it_should(shown, name):
    page = shown[name]

    assert [text for text in SAYS[name] if text not in page] == []


@pytest.mark.parametrize("name", SAYS)
def test_what_is_shown_is_well_formed_and_runs_nothing(shown, name):
    tags = Tags()
    tags.feed(shown[name])

    assert tags.open == []
    assert tags.seen <= PLAIN
    assert tags.attributes <= {"max", "style", "value"}
    assert not re.search(r"https?:|src=|<b>alps", shown[name])


def test_a_refusal_is_an_error_with_its_name(shown):
    assert shown["refusal"] == "PlanError"
