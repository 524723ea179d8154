"""Rows for training come out of PostgreSQL in batches: a process that reads them all never holds them all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.postgres_server import postgres_server

pytestmark = [
    pytest.mark.database,
    pytest.mark.lane("database"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell of peak memory"),
]

ROWS = 1_500_000
WHOLE_MB = ROWS * 3 * 8 / 1e6
"""Three columns as arrays of eight bytes a value: less than either test reads."""

PROGRAM = """
import json, re, sys
from pathlib import Path
from servers.party.sources import Limits, SourceSpec, TableSpec, open_source
from servers.party.training import SourceRows

def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1e3

limits = Limits(memory_bytes=64 << 20, threads=1, statement_timeout_s=100)
tables = {"facts": TableSpec(), "small": TableSpec()}
source = open_source(SourceSpec(url=sys.argv[1], tables=tables), limits)
columns = sys.argv[2].split(",")
read = lambda table: sum(len(batch[columns[0]]) for batch in SourceRows(source, table).read(columns))
read("small")  # libraries and buffers are there
before = highest()
rows = read("facts")
print(json.dumps([rows, highest() - before]))
"""


@pytest.fixture(scope="module")
def url():
    with postgres_server() as server:
        made = (
            "CREATE TABLE {} AS SELECT 'user ' || i % 5000 AS who, (i::bigint * 7919 % 40) AS i, sin(i) AS a,"
            " cos(i) AS b, sin(i * 2) AS c, (i % 5)::float8 AS y FROM generate_series(1, {}) AS g(i)"
        )
        server.execute("CREATE ROLE clerk LOGIN", made.format("facts", ROWS), made.format("small", 200_000))
        server.execute("GRANT SELECT ON facts, small TO clerk")
        yield server.url("clerk")


@pytest.mark.parametrize("columns", ["a,b,c,y", "who,i,y"], ids=["of a regression", "of a recommender"])
def test_peak_memory_does_not_follow_the_rows(url, columns):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, columns],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parents[2],
    )

    assert done.returncode == 0, done.stderr[-2000:]
    rows, grown_mb = json.loads(done.stdout)
    assert rows == ROWS
    assert grown_mb < WHOLE_MB / 3
