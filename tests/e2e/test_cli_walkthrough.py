"""From nothing to an encrypted answer with the command line alone: three parties, a coordinator, an analyst.

Each member has a folder of its own; files travel only as the commands say. The nodes are real processes.
"""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.client.cli import main

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("cli-walkthrough")]

PARTIES = {"north": ["a", "a", "b"], "south": ["b", "c"], "west": ["a", "c", "c", None]}
POLICY = """\
analysts = ["ana"]
allow_clear = false
[tables.sales]
count = true
[tables.sales.columns]
region = { use = ["group"] }
amount = { use = ["aggregate"], functions = ["sum", "avg"] }
"""
BY_REGION = "SELECT region, COUNT(*) AS n, SUM(amount) AS total FROM sales GROUP BY region ORDER BY region"


def _sealroom(*words):
    """Run a command here; returns what it printed, and insists that it worked."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main([str(w) for w in words])
    assert code == 0, err.getvalue()
    return out.getvalue()


def _process(*words, **options):
    command = [sys.executable, "-m", "mpc.client.cli", *map(str, words)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **{**pipes, **options})


def _run(*words):
    process = _process(*words)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


class Room:
    """What the members have after the walk."""

    def __init__(self, base):
        self.base = base
        self.said = []
        self.nodes = {}

    def walk(self, ports):
        base = self.base
        data = {p: base / f"{p}.parquet" for p in PARTIES}
        for party, regions in PARTIES.items():
            amounts = [10 * (i + 1) for i in range(len(regions))]
            pq.write_table(pa.table({"region": regions, "amount": pa.array(amounts, pa.int32())}), data[party])
        self.say("room", "new", "acme", "--folder", base / "acme")
        self.say("coordinator", "enrol", "hub", "-C", base / "hub", "--endpoint", f"127.0.0.1:{next(ports)}")
        for party in PARTIES:
            words = ("--endpoint", f"127.0.0.1:{next(ports)}", "--source", f"sales=parquet:{data[party]}")
            self.say("party", "enrol", party, "-C", base / party, *words)
            (base / party / "policy.toml").write_text(POLICY)
            self.say("room", "dictionary", "infer", "-C", base / party)
        self.say("analyst", "enrol", "ana", "-C", base / "ana")
        self.sign_and_install()

    def sign_and_install(self):
        members = ("hub", *PARTIES, "ana")
        enrolments = [self.base / m / f"{m}.enrolment.toml" for m in members]
        self.say("room", "add", "-r", self.base / "acme", *enrolments)
        proposals = [self.base / p / f"{p}.dictionary.toml" for p in PARTIES]
        self.say("room", "dictionary", "set", "-r", self.base / "acme", *proposals)
        for member in members:
            self.say("room", "sign", self.base / "acme/draft.toml", "-C", self.base / member, "--yes")
        signatures = [self.base / m / f"{m}.signature.toml" for m in members]
        self.say("room", "collect", "-r", self.base / "acme", *signatures)
        self.say("room", "seal", "-r", self.base / "acme")
        for member in members:
            self.say("room", "install", self.base / "acme/room.toml", "-C", self.base / member)

    def say(self, *words):
        text = _sealroom(*words)
        self.said.append((words, text))

    def serve(self, name):
        role = "coordinator" if name == "hub" else "party"
        with (self.base / name / "node.log").open("ab") as log:
            self.nodes[name] = _process(role, "serve", "-C", self.base / name, stdout=log, stderr=log, text=False)

    def await_listening(self):
        deadline = time.monotonic() + 90
        for name, node in self.nodes.items():
            config = (self.base / name / ("coordinator.toml" if name == "hub" else "party.toml")).read_text()
            endpoint = next(line for line in config.splitlines() if line.startswith("listen")).split('"')[1]
            host, _, port = endpoint.rpartition(":")
            while True:
                assert node.poll() is None, (self.base / name / "node.log").read_text()
                with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                    break
                assert time.monotonic() < deadline, f"{name} does not listen"
                time.sleep(0.05)

    def stop(self):
        for node in self.nodes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGCONT)
                node.terminate()
        return {name: node.wait(timeout=30) for name, node in self.nodes.items()}


def _ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return iter(ports)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    made = Room(tmp_path_factory.mktemp("room"))
    made.walk(_ports(len(PARTIES) + 1))
    for name in (*PARTIES, "hub"):
        made.serve(name)
    try:
        made.await_listening()
        yield made
    finally:
        codes = made.stop()
    assert codes == dict.fromkeys(codes, 0), "a node does not drain on SIGTERM"


def test_every_step_names_the_next(room):
    for words, text in room.said:
        assert "Next\n" in text, words
        assert "sealroom" in text.split("Next\n")[1] or "# send" in text, words


def test_no_private_key_is_in_any_file_that_travels(room):
    travelled = [
        *room.base.glob("*/*.enrolment.toml"),
        *room.base.glob("*/*.signature.toml"),
        room.base / "acme/room.toml",
    ]
    secrets = [p.read_text().strip() for p in room.base.glob("*/keys/*.key")]

    assert len(secrets) == 15
    for file in travelled:
        text = file.read_text()
        assert not any(secret in text for secret in secrets)
        assert "PRIVATE" not in text


def test_the_query_answers(room):
    code, out, err = _run("query", "--room", room.base / "ana", BY_REGION, "--format", "csv")

    assert (code, out) == (0, "region,n,total\na,3,40\nb,2,40\nc,3,70\n,1,40\n"), err
    assert "aggregate" not in out
    assert "added" in err


def test_a_file_that_cannot_be_written_is_refused_before_the_query_is_asked(room):
    before = json.loads(_sealroom("jobs", "list", "-r", room.base / "ana", "--json"))["jobs"]
    for where in (room.base, room.base / "absent" / "rows.csv"):
        code, out, err = _run("query", "-r", room.base / "ana", BY_REGION, "-o", where)
        assert (code, out) == (3, "")
        assert "cannot be written" in err

    assert json.loads(_sealroom("jobs", "list", "-r", room.base / "ana", "--json"))["jobs"] == before


def test_the_query_answers_machines_with_a_report(room):
    code, out, err = _run("query", "-r", room.base / "ana", "SELECT SUM(amount) AS s FROM sales", "--json")
    found = json.loads(out)

    assert (code, err) == (0, "")
    assert found["rows"] == [{"s": 190}]
    report = found["report"]
    assert report["participants"] == sorted(PARTIES)
    assert report["key_exchange"]
    assert all(report["traffic"][p]["ciphertexts_received"] >= 1 for p in PARTIES)


def test_rows_go_to_a_file_and_nothing_to_stdout(room, tmp_path):
    target = tmp_path / "rows.json"
    code, out, _ = _run("query", "-q", "-r", room.base / "ana", BY_REGION, "--format", "json", "-o", target)

    assert (code, out) == (0, "")
    assert [r["n"] for r in json.loads(target.read_text())] == [3, 2, 3, 1]


def test_the_prompt_reads_a_query_from_standard_input(room):
    process = _process("query", "-r", room.base / "ana", "--quiet", "--format", "csv", stdin=subprocess.PIPE)
    out, err = process.communicate("SELECT COUNT(*) AS n\nFROM sales;\n", timeout=180)

    assert (process.returncode, out) == (0, "n\n9\n"), err


@pytest.mark.parametrize(
    ("sql", "code", "error"),
    [
        ("SELECT STDDEV_SAMP(amount) AS s FROM sales", 5, "SEALROOM-E5001"),
        ("SELECT MIN(amount) AS s FROM sales", 7, "SEALROOM-E7001"),
        ("SELECT SUM(nothing) AS s FROM sales", 7, "SEALROOM-E7001"),
    ],
)
def test_a_refusal_has_its_exit_code_and_names_its_rule(room, sql, code, error):
    found, out, err = _run("query", "-r", room.base / "ana", sql, "--json")

    assert (found, out) == (code, "")
    envelope = json.loads(err)
    assert (envelope["exit_code"], envelope["error_code"]) == (code, error)
    if code == 5:
        assert envelope["fields"]["column"] == "amount"
        assert envelope["fields"]["party"] in PARTIES


def test_encryption_cannot_be_switched_off_against_a_policy(room):
    code, _, err = _run("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales", "--scheme", "clear")

    assert code == 5
    assert "allow_clear" in err


def test_explain_and_tables_need_no_network(room):
    sql = "SELECT region, AVG(amount) AS m FROM sales GROUP BY region"
    text = _sealroom("explain", "-r", room.base / "ana", sql)
    found = json.loads(_sealroom("explain", "-r", room.base / "ana", sql, "--json"))

    assert "who learns what" in text
    assert found["plan"]["participants"] == 3
    tables = json.loads(_sealroom("tables", "-r", room.base / "ana", "--json"))
    assert [c["name"] for c in tables["tables"][0]["columns"]] == ["region", "amount"]


def test_a_stated_line_changes_the_plan_s_scheme_and_prediction(room):
    words = ("-r", room.base / "ana", "SELECT SUM(amount) AS s FROM sales", "--json")
    near = json.loads(_sealroom("explain", *words))["plan"]
    far = json.loads(_sealroom("explain", *words, "--bandwidth", "50kbit", "--latency", "50ms"))["plan"]
    asked = json.loads(_sealroom("query", *words, "--bandwidth", "50kbit"))

    assert (near["scheme"], far["scheme"]) == ("rlwe", "paillier")
    assert far["seconds"] > near["seconds"] + 7 * 0.1
    assert asked["report"]["scheme"] == "paillier"
    code, _, err = _run("explain", *words, "--bandwidth", "fast")
    assert code == 2
    assert "--bandwidth is 500kbit" in err


def test_the_doctor_finds_every_member_well(room):
    code, out, err = _run("doctor", "-r", room.base / "ana", "--json")
    findings = {f["check"]: f for f in json.loads(out)["findings"]}

    assert code == 0, err
    assert "key exchange X25519" in findings["hub TLS"]["text"]
    assert all(findings[f"{p} via hub"]["level"] == "OK" for p in PARTIES)


def test_a_stopped_party_is_named_and_ctrl_c_cancels_the_job_everywhere(room):
    os.killpg(room.nodes["south"].pid, signal.SIGSTOP)
    try:
        process = _process("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales")
        told = ""
        while "waiting for south" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        os.killpg(room.nodes["south"].pid, signal.SIGCONT)
    jobs = json.loads(_sealroom("jobs", "list", "-r", room.base / "ana", "--json"))["jobs"]

    assert "waiting for north" not in told
    assert (process.returncode, out) == (130, "")
    assert "SEALROOM-E1301" in err
    assert (jobs[0]["state"], jobs[0]["error_code"]) == ("ABORTED", "E1301")
    code, out, err = _run("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales", "--format", "csv")
    assert (code, out) == (0, "n\n9\n"), err


def test_a_job_can_be_watched_and_cancelled_from_another_terminal(room):
    os.killpg(room.nodes["west"].pid, signal.SIGSTOP)
    try:
        asking = _process("query", "-q", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales")
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            newest = json.loads(_sealroom("jobs", "list", "-r", room.base / "ana", "--json"))["jobs"][0]
            if newest["state"] == "PLANNED":
                break
            time.sleep(0.1)
        _sealroom("jobs", "cancel", newest["job"][:10], "-r", room.base / "ana")
        _, err = asking.communicate(timeout=30)
    finally:
        os.killpg(room.nodes["west"].pid, signal.SIGCONT)
    code, _, told = _run("jobs", "watch", newest["job"][:10], "-r", room.base / "ana")

    assert (asking.returncode, code) == (130, 130)
    assert "SEALROOM-E1301" in err
    assert "SEALROOM-E1301" in told


def test_a_new_certificate_is_taken_up_without_a_restart(room):
    before = _sealroom("party", "certificate", "show", "-C", room.base / "north")
    _sealroom("party", "certificate", "renew", "-C", room.base / "north")
    code, out, err = _run("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales", "--format", "csv")

    assert _sealroom("party", "certificate", "show", "-C", room.base / "north").split()[0] == before.split()[0]
    assert (code, out) == (0, "n\n9\n"), err


def test_a_party_that_is_gone_is_named_with_exit_code_4_and_comes_back(room):
    room.nodes["north"].terminate()
    assert room.nodes["north"].wait(timeout=30) == 0
    code, _, err = _run("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales", "--json")
    diagnosed, out, _ = _run("doctor", "-r", room.base / "ana", "--json")
    room.serve("north")
    room.await_listening()

    assert code == 4
    assert json.loads(err)["fields"]["party"] == "north"
    assert diagnosed == 4
    assert [f["check"] for f in json.loads(out)["findings"] if f["level"] == "FAIL"] == ["north via hub"]
    code, out, err = _run("query", "-r", room.base / "ana", "SELECT COUNT(*) AS n FROM sales", "--format", "csv")
    assert (code, out) == (0, "n\n9\n"), err


def test_the_folder_of_a_stranger_does_not_serve(room, tmp_path):
    _sealroom("party", "enrol", "east", "-C", tmp_path / "east", "--endpoint", "127.0.0.1:7999")
    (tmp_path / "east" / "room.toml").write_text((room.base / "acme/room.toml").read_text())
    code, _, err = _run("party", "serve", "-C", tmp_path / "east")

    assert code == 3
    assert "east is not a member of room acme" in err


def test_paths_of_the_walk_are_as_documented(room):
    assert sorted(p.name for p in (room.base / "north").iterdir() if p.name not in {"node.log", "state"}) == [
        "keys", "north.dictionary.toml", "north.enrolment.toml", "north.signature.toml", "party.toml", "policy.toml",
        "room.toml",
    ]  # fmt: skip
    assert Path(room.base / "acme" / "room.toml").exists()
