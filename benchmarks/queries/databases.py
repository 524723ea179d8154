"""The same questions to parties over PostgreSQL and over Parquet, and where the time goes.

    python -m benchmarks.queries.databases --rows 10000000 --repeat 3

Run it from the repository's root in a quiet window; it needs PostgreSQL's programs and ten minutes at ten million rows
at each of three parties. Every answer is compared with DuckDB's over the pooled table. Columns:

| column | seconds of |
|---|---|
| database | the slowest party's statements, from the coordinator's order to its offer |
| encryption | the slowest party's encoding, masking and encryption, with sending on the loopback |
| adding | the coordinator's additions |
| the rest | promises, signatures, fetching, opening, and the wire of the loopback |
| 100 Mbit/s | what one party's bytes would take on such a line, beside the above |
| alone | the statement over the pooled rows in the database itself, without any of this |
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import tomli_w

from mpc.client import LocalRoom
from mpc.client.compose import sample_sales
from mpc.client.local import free_ports
from tests.interop.postgres_server import postgres_server

PARTIES = ("north", "south", "west")
QUERIES = {
    "one total": "SELECT COUNT(*) AS n, SUM(quantity) AS q FROM sales",
    "four groups": "SELECT region, COUNT(*) AS n, SUM(quantity) AS q FROM sales GROUP BY region ORDER BY region",
    "with a filter": "SELECT region, SUM(quantity) AS q FROM sales WHERE quantity > 5 GROUP BY region ORDER BY region",
    "44 groups": "SELECT region, quantity, COUNT(*) AS n FROM sales GROUP BY 1, 2 ORDER BY region, quantity",
}
LINE_BYTES_PER_S = 12.5e6


class Measured:
    """A room whose parties count where their time goes."""

    def __init__(self, room):
        self.room, self.client = room, room.client()
        self.ports = dict(zip(PARTIES, free_ports(len(PARTIES)), strict=True))
        for party in PARTIES:
            self.configure(party, {"operations": {"listen": f"127.0.0.1:{self.ports[party]}"}})

    def configure(self, party, changes):
        path = self.room.folder / party / "party.toml"
        path.write_text(tomli_w.dumps({**tomllib.loads(path.read_text()), **changes}))
        self.room.restart(party)

    def contributing(self, party):
        """Seconds that a party has spent on encryption so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[party], timeout=10)
        connection.request("GET", "/metrics")
        wanted = 'sealroom_phase_seconds_sum{phase="contribute"}'
        lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))

    def ask(self, sql, repeat):
        """Rows, and medians of the parts of a warm query."""
        self.client.sql(sql)
        runs = []
        for _ in range(repeat):
            before = {p: self.contributing(p) for p in PARTIES}
            started = time.perf_counter()
            answer = self.client.sql(sql)
            total = time.perf_counter() - started
            encryption = max(self.contributing(p) - before[p] for p in PARTIES)
            phases, traffic = answer.report.phases, answer.report.traffic
            sent = max(traffic[p]["bytes_received"] for p in PARTIES)
            parts = (phases.get("local", 0.0), encryption, phases.get("add", 0.0))
            runs.append((total, *parts, max(0.0, total - sum(parts)), sent / LINE_BYTES_PER_S))
        return answer.values, [statistics.median(column) for column in zip(*runs, strict=True)]


def alone(run, sql, repeat):
    """Median seconds of a statement by itself, warm."""
    run(sql)
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        run(sql)
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table for each kind of source; 1 if any two answers differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="at each party")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = {p: folder / f"{p}.parquet" for p in PARTIES}
        for party, path in files.items():
            pq.write_table(sample_sales(party, options.rows), path)
        server = stack.enter_context(postgres_server())
        server.execute("CREATE ROLE clerk LOGIN", "CREATE TABLE sales (region text, quantity int, amount float8)")
        for party, path in files.items():
            server.fill(f"sales_{party}", path)
            server.execute(f"ALTER TABLE sales_{party} INHERIT sales", f"GRANT SELECT ON sales_{party} TO clerk")
        server.execute("ANALYZE")
        room = Measured(stack.enter_context(LocalRoom({p: {"sales": str(path)} for p, path in files.items()})))
        pooled = f"read_parquet({[str(path) for path in files.values()]})"
        engine = duckdb.connect(config={"threads": 2})
        inside = {sql: engine.sql(sql.replace("sales", pooled, 1)).fetchall() for sql in QUERIES.values()}
        same = table("Parquet", options, room, inside, lambda q: engine.sql(q.replace("sales", pooled, 1)).fetchall())
        for party in PARTIES:
            tables = {"sales": {"origin": f"public.sales_{party}"}}
            room.configure(party, {"sources": {"db": {"url": server.url("clerk"), "tables": tables}}})
        same &= table("PostgreSQL", options, room, inside, server.fetch)
    return 0 if same else 1


def table(kind, options, room, inside, run):
    """Ask everything of a room over one kind of source; whether all answers are those of the pooled rows."""
    names = ("total", "database", "encryption", "adding", "the rest", "100 Mbit/s", "alone")
    print(f"\n{kind}, {options.rows:,} rows at each of {len(PARTIES)} parties; seconds, medians of {options.repeat}")
    print(f"{'query':<16}" + "".join(f"{name:>12}" for name in names) + "  shares of database, encryption, the rest")
    same = True
    for name, sql in QUERIES.items():
        values, parts = room.ask(sql, options.repeat)
        same &= [tuple(map(str, row)) for row in values] == [tuple(map(str, row)) for row in inside[sql]]
        total, database, encryption, _, rest, _ = parts
        shares = ", ".join(f"{100 * part / total:.0f}%" for part in (database, encryption, rest))
        figures = "".join(f"{x:>12.4f}" for x in (*parts, alone(run, sql, options.repeat)))
        print(f"{name:<16}{figures}  {shares}{'' if same else '  THE ANSWERS DIFFER'}", flush=True)
    return same


if __name__ == "__main__":
    sys.exit(main())
