"""The fast lane: every member on a host of its own, a network namespace with its own address; no image, no daemon.

The switch is a namespace too, so nothing of this machine's own network is touched. Needs root and `ip` (iproute2).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from mpc.client.compose import sample_sales
from mpc.client.members import enrol
from mpc.client.proposals import dump_proposal, infer_proposal
from mpc.client.rooms import RoomFolder, sign_draft
from mpc.keys.manifest import SignedManifest
from mpc.parties import Role
from mpc.policy.rules import open_policy
from tests.e2e.operated_rooms import DRIVER, Analyst, Faults, program
from tests.lanes import lane_missing

pytestmark = [pytest.mark.processes, pytest.mark.lane("hosts"), pytest.mark.xdist_group("hosts")]

GROUPED = "SELECT region, COUNT(*) AS n, SUM(quantity) AS q FROM sales GROUP BY region ORDER BY region"
PARTIES = ("north", "south", "west")
NODES = ("coordinator", *PARTIES)
ROOT = Path(__file__).parents[2]
LANE = "fast lane (network namespaces)"


def able():
    """Why this machine cannot run the lane; nothing if it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    probe = f"srprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return made.stderr.strip()


class Hosts:
    """Namespaces on one switch, and the processes in them."""

    def __init__(self, folder):
        self.folder, self.processes, self.tag = folder, {}, f"sr{os.getpid() % 100000}"
        self.switch = f"{self.tag}-switch"
        self.address = {name: f"10.213.77.{10 + i}" for i, name in enumerate((*NODES, "ana"))}

    def net(self, name, *words):
        return program(["ip", "-n", f"{self.tag}-{name}", *words])

    def build(self):
        for name in ("switch", *self.address):
            program(["ip", "netns", "add", f"{self.tag}-{name}"])
        self.net("switch", "link", "add", "br0", "type", "bridge")
        self.net("switch", "link", "set", "br0", "up")
        for name, address in self.address.items():
            self.net(
                "switch", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", f"{self.tag}-{name}"
            )
            self.net("switch", "link", "set", name, "master", "br0", "up")
            self.net(name, "address", "add", f"{address}/24", "dev", "eth0")
            self.net(name, "link", "set", "eth0", "up")
            self.net(name, "link", "set", "lo", "up")

    def inside(self, name, *words):
        return ["ip", "netns", "exec", f"{self.tag}-{name}", *words]

    def start(self, name):
        kind = "coordinator" if name == "coordinator" else "party"
        command = [sys.executable, "-m", f"servers.{kind}", "--config", str(self.folder / name / f"{kind}.toml")]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.inside(name, *command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT
            )

    def await_serving(self, name):
        check = self.inside(name, sys.executable, "-m", "servers.health", "--folder", str(self.folder / name))
        deadline = time.monotonic() + 90
        while subprocess.run(check, capture_output=True, cwd=ROOT, check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / f"{name}.log").read_text()[-2000:]

    def end(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(timeout=60)

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for name in ("switch", *self.address):
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{name}"], capture_output=True, check=False)


def make_room(folder, hosts):
    """Every owner's steps, each in its own folder."""
    room = RoomFolder.create(folder / "room", "hosts")
    members = []
    for name in (*NODES, "ana"):
        role = {"coordinator": Role.COORDINATOR, "ana": Role.ANALYST}.get(name, Role.PARTY)
        sources = None
        if role is Role.PARTY:
            (folder / name / "data").mkdir(parents=True)
            pq.write_table(sample_sales(name, 500), folder / name / "data/sales.parquet")
            sources = {"sales": "parquet:data/sales.parquet"}
        endpoint = "" if role is Role.ANALYST else f"{hosts.address[name]}:7443"
        member, _ = enrol(folder / name, role, name, endpoint=endpoint, sources=sources)
        members.append(member)
        if role is Role.PARTY:
            import tomli_w

            (member.path / "policy.toml").write_text(tomli_w.dumps(open_policy(("sales",))))
            (member.path / f"{name}.dictionary.toml").write_text(dump_proposal(infer_proposal(member)))
    room.add(m.enrolment_file for m in members)
    room.set_dictionary(folder / p / f"{p}.dictionary.toml" for p in PARTIES)
    room.collect(sign_draft(room.draft_file, m)[0] for m in members)
    room.seal()
    for member in members:
        member.install(SignedManifest.load(room.sealed_file))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    if reason := able():
        lane_missing("hosts", reason)
    made = Hosts(tmp_path_factory.mktemp("hosts"))
    try:
        made.build()
        make_room(made.folder, made)
        for name in NODES:
            made.start(name)
        for name in NODES:
            made.await_serving(name)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def analyst(hosts):
    found = Analyst(hosts.inside("ana", sys.executable, "-c", DRIVER, str(hosts.folder / "ana")))
    yield found
    found.close()


@pytest.fixture(scope="module")
def faults():
    return Faults(LANE)


@pytest.fixture(scope="module")
def expected(hosts):
    files = [str(hosts.folder / p / "data/sales.parquet") for p in PARTIES]
    rows = duckdb.sql(GROUPED.replace("sales", f"read_parquet({files})")).fetchall()
    return [[str(x) if isinstance(x, str) else int(x) for x in row] for row in rows]


def test_a_query_over_hosts_equals_the_pooled_table(analyst, expected):
    assert analyst.ask(GROUPED)["rows"] == expected


def test_parties_have_hosts_of_their_own(hosts):
    listening = program(hosts.inside("north", "ss", "-ltnH"))

    assert hosts.address["north"] in listening
    assert hosts.address["south"] not in listening


def test_a_party_cut_off_before_the_job(hosts, analyst, faults, expected):
    hosts.net("switch", "link", "set", "west", "down")
    answer = analyst.ask(GROUPED)
    hosts.net("switch", "link", "set", "west", "up")

    assert answer["code"] in {"E4301", "E4302", "E4401", "E4001"}
    assert "west" in answer["said"]
    assert answer["seconds"] < 60
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add("cable of a party pulled before a query", answer, seconds)
    assert rows == expected
    assert seconds < 60


def test_a_party_cut_off_in_the_middle(hosts, analyst, faults, expected):
    def pull(step):
        if step == "compute":
            hosts.net("switch", "link", "set", "south", "down")

    answer = analyst.ask(GROUPED, pull)
    hosts.net("switch", "link", "set", "south", "up")

    assert answer.get("rows") == expected or "south" in answer["said"]
    assert answer["seconds"] < 90
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add("cable of a party pulled in the middle", answer, seconds)
    assert rows == expected


def test_a_party_that_freezes(hosts, analyst, faults, expected):
    def freeze(step):
        if step == "compute":
            hosts.processes["west"].send_signal(signal.SIGSTOP)

    answer = analyst.ask(GROUPED, freeze)
    hosts.processes["west"].send_signal(signal.SIGCONT)
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add("west frozen in the middle, then thawed", answer, seconds)

    assert answer.get("rows") == expected or "west" in answer["said"]
    assert answer["seconds"] < 45
    assert rows == expected


@pytest.mark.parametrize("victim", ["north", "coordinator"])
def test_a_host_that_dies_and_comes_back(hosts, analyst, faults, expected, victim):
    def kill(step):
        if step == "compute" and victim in hosts.processes:
            hosts.end(victim, signal.SIGKILL)

    for _ in range(10):  # a query may be faster than the report of its steps
        answer = analyst.ask(GROUPED, kill)
        if victim not in hosts.processes:
            break
    started = time.monotonic()
    assert victim not in hosts.processes
    hosts.start(victim)
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add(f"{victim} killed in the middle, started again", answer, time.monotonic() - started)

    assert answer.get("rows") == expected or answer["code"].startswith(("E43", "E40", "E82")), answer
    assert rows == expected
    assert seconds < 60


@pytest.mark.parametrize("victim", ["west", "coordinator"])
def test_a_disk_that_is_full(hosts, analyst, faults, expected, victim):
    """A node that cannot write down what it promised does not take part; with space again it does, unrestarted."""
    state = hosts.folder / victim / "state"
    hosts.end(victim)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "none", str(state)], capture_output=True, check=False
    )
    if mounted.returncode:
        hosts.start(victim)
        pytest.skip("this machine mounts no small disk")
    try:
        hosts.start(victim)
        hosts.await_serving(victim)
        assert analyst.until_rows(GROUPED)[1] == expected
        with suppress(OSError), (state / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        answer = analyst.ask(GROUPED)
        (state / "filler").unlink()
        seconds, rows = analyst.until_rows(GROUPED)
        faults.add(f"disk of {victim} full, then not", answer, seconds)
        hosts.end(victim)
    finally:
        program(["umount", "-l", str(state)])
    hosts.start(victim)

    assert answer["code"] == "E4501"
    assert f"limit disk, {'party' if victim == 'west' else 'member'} {victim}" in answer["said"]
    assert rows == expected


def test_every_fault_was_seen_and_overcome(faults, record_property):
    """The table is printed at the end of the run."""
    record_property("table", faults.report())

    assert all(recovery < 120 for _, recovery in faults.recoveries)
