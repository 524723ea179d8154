"""`sealroom bench` as it is typed."""

import json
import os
import sys

import pytest
import typer

from mpc.client.bench import calibrating, cli, micro, runner
from mpc.client.bench.cases import Work, expect
from mpc.client.bench.cli import BenchCommand, bench
from mpc.client.bench.drift import DEFAULT_LIMIT, Drift, Reading
from mpc.client.cli.terminal import Terminal
from mpc.errors import ConfigurationError, ResourceExhausted


def run(*words):
    app = typer.Typer()
    app.command("bench", cls=BenchCommand)(bench)
    app.command("other")(lambda: None)
    return app(["bench", *words], prog_name="sealroom", standalone_mode=False, obj=Terminal())


def test_json_goes_to_stdout_alone(capfd):
    code = run("--smoke", "--only", "micro/masks", "--json")

    out, err = capfd.readouterr()
    data = json.loads(out)
    assert code == 0
    assert (data["status"], data["exit_code"], data["level"]) == ("ok", 0, "smoke")
    assert [row["path"] for row in data["rows"]] == ["micro/masks/p2", "micro/masks/p3", "micro/masks/p5"]
    assert "masks" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--smoke", "--only", "micro/masks/p2"),
        ("--json", "-", "--smoke", "--only", "micro/masks/p2"),
        ("--smoke", "--only", "micro/masks/p2", "--json=-"),
        ("--smoke", "--only", "micro/masks/p2", "-q", "--json"),
    ],
)
def test_json_stands_with_and_without_a_value(capfd, words):
    assert run(*words) == 0
    assert json.loads(capfd.readouterr().out)["rows"]


def test_what_a_library_prints_does_not_reach_the_results(capfd, monkeypatch):
    chatty = micro.mask_cases

    def cases(level):
        for case in chatty(level):
            os.write(1, b"hello from C\n")
            print("hello from Python")
            yield case

    with cli._stdout_kept():
        list(cases("smoke"))
    print("result")
    sys.stdout.flush()

    out, err = capfd.readouterr()
    assert out == "result\n"
    assert "hello" not in err


def test_files_are_written_and_read_again(tmp_path, capfd):
    first, second, page = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "r.html"
    for path in (first, second):
        assert run("--smoke", "--only", "micro/masks", "--json", str(path), "--report", str(page)) == 0
    assert "micro/masks" in capfd.readouterr().out

    assert run("--compare", str(first), str(second)) == 0
    assert "micro/masks/p5" in capfd.readouterr().out
    assert run("--compare", str(first), str(second), "--json") == 0
    assert {c["path"] for c in json.loads(capfd.readouterr().out)["cases"]} == {f"micro/masks/p{p}" for p in (2, 3, 5)}
    assert page.read_text().startswith("<!doctype html>")


def test_a_list_runs_nothing(capfd):
    assert run("--list", "--peers", "--only", "peers") == 0

    assert "peers/tenseal-ckks" in capfd.readouterr().out.split()


def test_a_wrong_answer_ends_with_one(capfd, monkeypatch):
    import contextlib

    @contextlib.contextmanager
    def wrong(*_):
        yield Work(run=lambda _: 0, check=lambda r: expect(r, "masks do not cancel"), twins={}, values=1)

    monkeypatch.setattr(micro, "_masking", wrong)

    assert run("--smoke", "--only", "micro/masks/p2", "--json") == 1
    data = json.loads(capfd.readouterr().out)
    assert data["status"] == "error"
    assert data["rows"] == []
    assert "masks do not cancel" in data["skipped"][0]["reason"]


def test_a_busy_machine_reports_nothing(tmp_path, capfd, monkeypatch):
    busy = iter(range(1, 10_000))

    monkeypatch.setattr(runner, "_ATTEMPTS", 1)

    def read(self):
        self.readings.append(Reading(*[float(next(busy) % 2 + 1)] * 2))
        return self.readings[-1]

    monkeypatch.setattr(Drift, "read", read)
    page = tmp_path / "r.html"

    with pytest.raises(ResourceExhausted, match="calibration loop"):
        run("--quick", "--only", "micro/masks/p2", "--json", "--report", str(page))

    assert capfd.readouterr().out == ""
    assert not page.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--compare", "none.json", "none.json"),
        ("--smoke", "--only", "micro/masks", "--report", "/no/such/folder/r.html"),
        ("--smoke", "--only", "micro/masks", "--report", "/proc/version"),
        ("--smoke", "--only", "micro/masks", "--report", "/tmp"),
        ("--smoke", "--only", "micro/masks", "--json", "/tmp"),
        ("--calibrate", "--json", "/no/such/folder/c.json"),
        ("--list", "--json", "/no/such/folder/c.json"),
        ("--only", "nothing"),
        ("--only", ""),
    ],
)
def test_what_cannot_work_is_refused_before_measuring(words, monkeypatch):
    def measured(*_args, **_more):
        raise AssertionError("something was measured")

    monkeypatch.setattr(runner, "measure", measured)
    monkeypatch.setattr(calibrating, "calibrate", measured)

    with pytest.raises(ConfigurationError):
        run(*words)


def test_calibration_is_refused_where_its_file_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(calibrating, "calibrate", lambda *_args, **_more: pytest.fail("something was measured"))
    (tmp_path / "file").write_text("x")

    for place in (tmp_path, tmp_path / "file" / "costs.toml"):
        monkeypatch.setenv("SEALROOM_COSTS", str(place))
        with pytest.raises(ConfigurationError):
            run("--calibrate")


def test_results_survive_a_report_that_fails(tmp_path, capfd, monkeypatch):
    from mpc.client.bench import report

    def broken(_results):
        raise ValueError("no chart")

    monkeypatch.setattr(report, "report_html", broken)
    out = tmp_path / "a.json"

    with pytest.raises(ValueError, match="no chart"):
        run("--smoke", "--only", "micro/masks/p2", "--json", str(out), "--report", str(tmp_path / "r.html"))

    assert json.loads(out.read_text())["rows"]
    assert "p2" in capfd.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--compare", "a.json", "b.json", "--report", "r.html"),
        ("--compare", "a.json", "b.json", "--calibrate"),
        ("--compare", "a.json", "b.json", "--markdown", "a.json"),
        ("--markdown", "a.json", "--report", "r.html"),
        ("--calibrate", "--report", "r.html"),
        ("--list", "--report", "r.html"),
        ("--into", "README.md", "--smoke", "--only", "micro/masks/p2"),
    ],
)
def test_options_that_would_be_ignored_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.setenv("SEALROOM_COSTS", str(tmp_path / "costs.toml"))
    monkeypatch.setattr(calibrating, "calibrate", lambda *_args, **_more: pytest.fail("something was measured"))

    with pytest.raises(typer.BadParameter):
        run(*words)


def test_the_stated_limit_is_the_judge_s():
    assert cli._DEFAULT_DRIFT == DEFAULT_LIMIT


def test_levels_exclude_each_other():
    with pytest.raises(Exception, match="exclude each other"):
        run("--quick", "--full")


def test_calibration_writes_the_planner_s_file(tmp_path, capfd, monkeypatch):
    from mpc.plan.constants import CostConstants, read_constants

    made = CostConstants(
        machine="m", commit="c", measured_at="t", mask_ns=1.0, packing_ns=2.0, job_s=0.1, sum_s=0.01, schemes={}
    )
    monkeypatch.setattr(calibrating, "calibrate", lambda _progress, *, drift: made)
    monkeypatch.setenv("SEALROOM_COSTS", str(tmp_path / "costs.toml"))

    assert run("--calibrate", "--json") == 0

    assert json.loads(capfd.readouterr().out)["constants"]["job_s"] == 0.1
    assert read_constants(tmp_path / "costs.toml") == made
