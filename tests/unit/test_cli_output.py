"""What the command line prints, to whom, and its exit codes."""

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal

import pytest
from rich.console import Console

from mpc.client.answer import Answer, Report
from mpc.client.cli import main
from mpc.client.cli.failures import pointed
from mpc.client.cli.formats import Format, csv_text, duration_s, line_of, render
from mpc.client.cli.progress import JobProgress, JobView
from mpc.client.cli.terminal import Terminal
from mpc.client.help_texts import EXIT_CODES, HELP, text_of
from mpc.errors import ParameterError
from mpc.plan import Line
from mpc.wire.errors import CATALOGUE
from mpc.wire.messages import JobEvent


def _answer():
    report = Report(
        job="ab" * 16, scheme="bfv", parameter_set="s", security="128", participants=("n", "s"), ciphertexts=1,
        bytes_received=9,
    )  # fmt: skip
    rows = (("a,b", 1, Decimal("10.50"), dt.date(2024, 1, 2)), (None, 2, None, None), ("", 3, Decimal(1), None))
    return Answer(("k", "n", "d", "day"), rows, report)


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_error_code_has_a_text(code):
    text = text_of(code)

    assert text.what.endswith(".")
    assert text.why.endswith(".")
    assert text.fixes
    assert CATALOGUE[code].exit_code in EXIT_CODES


def test_every_text_has_an_error_code():
    assert set(HELP) == set(CATALOGUE)


@pytest.mark.parametrize("name", ["E5001", "5001", "SEALROOM-E5001", "sealroom-e5001"])
def test_help_takes_a_code_as_it_was_printed(name, capsys):
    assert main(["help", name]) == 0
    assert "SEALROOM-E5001" in capsys.readouterr().out


def test_help_of_an_unknown_code_is_an_error(capsys):
    with pytest.raises(ParameterError):
        text_of("E0000")
    assert main(["help", "E0000"]) == 3
    assert "sealroom help lists them all" in capsys.readouterr().err


def test_an_error_has_a_code_a_reason_and_a_cure_on_stderr_and_nothing_on_stdout(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main(["room", "show"])
    captured = capsys.readouterr()

    assert code == 3
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("SEALROOM-E3001 the configuration is not valid")
    assert [line.split()[0] for line in lines[1:]] == ["Why", "Fix", "More"]


def test_an_error_for_machines_is_an_envelope(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main(["room", "show", "--json"])
    found = json.loads(capsys.readouterr().err)

    assert code == found["exit_code"] == 3
    assert (found["schema_version"], found["status"], found["error_code"]) == (1, "error", "SEALROOM-E3001")
    assert set(found) >= {"message", "hint", "job", "why"}


@pytest.mark.parametrize(
    "words", [["bogus"], ["room", "bogus"], ["room", "new"], ["query", "x", "--format", "xml"], ["version", "--what"]]
)
def test_a_wrong_command_line_exits_with_2(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALROOM_ROOM", raising=False)

    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage ")
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error_code"] == "SEALROOM-USAGE"


def test_without_words_it_helps_and_succeeds(capsys):
    assert main([]) == 0
    captured = capsys.readouterr()
    assert "sealroom demo" in captured.out + captured.err


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (0, ("SELECT x", "^")),
        (7, ("SELECT x", "       ^")),
        (14, ("FROM y", "     ^")),
        (15, ("FROM y", "      ^")),
        (99, ()),
    ],
)
def test_an_offset_points_into_its_line(offset, expected):
    assert pointed("SELECT x\nFROM y", offset) == expected


def test_help_loads_neither_grpc_nor_a_database_nor_cryptography():
    heavy = {"grpc", "duckdb", "numpy", "cryptography", "tenseal", "numba", "sqlglot", "pyarrow"}
    script = (
        "import sys\nfrom mpc.client.cli import main\ncode = main(['--help'])\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"
    assert "sealroom" in done.stdout


def test_version_names_every_library_that_computes(capsys):
    assert main(["version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wire_version"] >= 1
    assert None not in found["libraries"].values()
    assert {"tenseal", "cryptography", "grpcio"} <= set(found["libraries"])


# ---- rows --------------------------------------------------------------------------------------------------------


def test_csv_keeps_null_and_empty_text_apart():
    assert render(_answer(), Format.CSV) == 'k,n,d,day\n"a,b",1,10.50,2024-01-02\n,2,,\n"",3,1,'


def test_csv_quotes_what_needs_it():
    assert csv_text(("x",), [('say "hi"',), ("two\nlines",), (True,)]) == 'x\n"say ""hi"""\n"two\nlines"\ntrue'


def test_json_rows_have_exact_decimals_and_iso_dates():
    text = render(_answer(), Format.JSON)

    assert '"d": 10.50' in text
    assert json.loads(text)[0] == {"k": "a,b", "n": 1, "d": 10.5, "day": "2024-01-02"}
    assert json.loads(text)[1]["d"] is None


def test_a_table_puts_numbers_to_the_right_whatever_their_first_row():
    lines = str(_answer()).splitlines()

    assert lines[0].split() == ["k", "n", "d", "day"]
    assert lines[2].index("10.50") + 5 == lines[4].index("1", lines[4].index("3") + 1) + 1


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0)])
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1s", "0", "ten", "nan"])
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(ValueError):
        duration_s(text)


# ---- progress ----------------------------------------------------------------------------------------------------


def _event(step, seconds, *, party="", state="COMMITTED", **fields):
    return JobEvent(job="ab" * 16, sequence=1, state=state, step=step, party=party, seconds=seconds, **fields)


def test_the_view_says_that_a_job_waits_for_its_turn():
    view = JobView(("north", "south"))

    assert view.take(_event("queued", 0.0)) == "waiting for its turn: the parties work for other jobs"
    assert {what for what, _ in view.waiting().values()} == {"works for other jobs first"}
    view.take(_event("commit", 4.0))
    assert {since for _, since in view.waiting().values()} == {4.0}


def test_the_view_names_whom_the_job_waits_for():
    view = JobView(("north", "south", "west"))
    view.take(_event("commit", 0.0))
    assert set(view.waiting()) == {"north", "south", "west"}

    assert view.take(_event("awaiting", 1.0, party="south")) == "waiting for south, 1 s"
    view.take(_event("awaiting", 1.001, party="west"))
    assert set(view.waiting()) == {"south", "west"}
    assert view.take(_event("awaiting", 3.0, party="west")) == "waiting for west, 3 s"
    assert set(view.waiting()) == {"west"}


def test_the_view_counts_what_has_been_added_and_forgets_whom_it_waited_for():
    view = JobView(("north", "south"))
    view.take(_event("compute", 0.1, party="north"))
    assert view.take(_event("add", 0.2, round=1, ciphertexts_done=2, ciphertexts_total=4)) == ""
    assert view.waiting() == {}
    assert (
        view.take(_event("add", 0.3, round=1, ciphertexts_done=4, ciphertexts_total=4))
        == "added 4 of 4 ciphertexts of round 1"
    )


def test_a_new_step_of_a_party_is_shown_after_an_old_notice():
    view = JobView(("north", "south"))
    view.take(_event("commit", 0.0))
    view.take(_event("awaiting", 5.0, party="north"))
    view.take(_event("compute", 6.0, party="north"))
    view.take(_event("compute", 6.0, party="south"))

    assert set(view.waiting()) == {"north", "south"}


@pytest.mark.parametrize(
    ("flags", "lines"), [({}, 1), ({"quiet": True}, 0), ({"progress": False}, 0), ({"json": True}, 0)]
)
def test_without_a_terminal_progress_is_one_line_a_step_unless_it_is_unwanted(flags, lines, capsys):
    terminal = Terminal(**flags)
    with JobProgress(terminal, ("north",)) as progress:
        progress(_event("commit", 0.0))
    captured = capsys.readouterr()

    assert captured.out == ""
    assert len(captured.err.splitlines()) == lines


def test_the_display_shows_parties_times_and_a_bar(monkeypatch):
    progress = JobProgress(Terminal(), ("north", "south"))
    progress._view.take(_event("compute", 0.0, party="north"))
    progress._view.total, progress._view.done = 4, 2
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(progress.render())
    text = captured.get()

    assert "north  reads its rows, masks and encrypts" in text
    assert "2 of 4 ciphertexts added" in text


@pytest.mark.parametrize(
    ("bandwidth", "latency", "line"),
    [
        (None, None, None),
        ("20Mbit", None, Line(megabits_per_s=20)),
        ("1Gbit/s", "50ms", Line(megabits_per_s=1000, latency_s=0.05)),
        ("500kbit", "0.2s", Line(megabits_per_s=0.5, latency_s=0.2)),
    ],
)
def test_lines_are_read(bandwidth, latency, line):
    assert line_of(bandwidth, latency) == line


@pytest.mark.parametrize(
    ("bandwidth", "latency"),
    [("20", None), ("Mbit", None), ("-1Mbit", None), ("20MB", None), (None, "50"), (None, "m")],
)
def test_what_is_no_line_is_refused(bandwidth, latency):
    with pytest.raises(ValueError):
        line_of(bandwidth, latency)
