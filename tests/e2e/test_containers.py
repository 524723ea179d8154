"""The image lane: the shipped Containerfile and compose file, built and run across containers.

`make images` runs it: `.ci/containers.sh` prepares podman and a base image, `SEALROOM_LANES=images` demands the lane.
With `SEALROOM_LANE_ROWS=10000000` the figures at its end are those of 10 M rows at each party.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import duckdb
import pytest
import tomli_w

from mpc.client.compose import write_compose_room
from tests.e2e.operated_rooms import DRIVER, Analyst, Faults, expired_certificate, program, watch_memory
from tests.interop.postgres_server import HOST, Authority, postgres_server
from tests.lanes import demanded, lane_missing

pytestmark = [pytest.mark.processes, pytest.mark.lane("images"), pytest.mark.xdist_group("containers")]

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim"
TAG = "lane"
LIMITS_MB = {"coordinator": 450, "party": 900}
PROJECT = "srlane"
PARTIES = ("north", "south", "west")
NODES = ("coordinator", *PARTIES)
ROWS = int(os.environ.get("SEALROOM_LANE_ROWS", "500"))
BUILD_LIMIT_S = 600
GROUPED = "SELECT region, COUNT(*) AS n, SUM(quantity) AS q FROM sales GROUP BY region ORDER BY region"


def able():
    """Why this machine cannot run the lane; nothing if it can."""
    if os.geteuid() != 0 or shutil.which("podman") is None:
        return "it needs root and podman"
    if composer() is None:
        return "podman-compose is not installed"
    try:
        program(["podman", "image", "exists", BASE], env=environment())
    except RuntimeError:
        return f"there is no image {BASE}"
    return ""


def composer():
    beside = Path(sys.executable).parent / "podman-compose"
    return os.environ.get("SEALROOM_COMPOSE") or (str(beside) if beside.exists() else shutil.which("podman-compose"))


def environment():
    return {"CONTAINERS_CONF": str(ROOT / ".ci/containers.conf"), **os.environ, "COMPOSE_PROJECT_NAME": PROJECT}


class Room:
    """A compose room that runs."""

    def __init__(self, made):
        self.made, self.seconds, self.memory = made, {}, {}

    def podman(self, *words):
        return program(["podman", *words], env=environment())

    def compose(self, *words):
        return program([composer(), "-f", "compose.yaml", *words], env=environment(), cwd=self.made.folder)

    def name(self, service):
        return f"{PROJECT}_{service}_1"

    def log(self, service):
        """What a container wrote to stderr."""
        command = ["podman", "logs", self.name(service)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stderr

    def inside(self, service, *words):
        return self.podman("exec", self.name(service), *words)

    def watch_memory(self, when):
        """Megabytes of every node and its worker at most, for as long as the context lasts."""
        pids = {s: int(self.podman("inspect", "--format", "{{.State.Pid}}", self.name(s))) for s in NODES}
        return watch_memory(pids, self.memory.setdefault(when, {}))

    def figures(self, images):
        """Sizes, seconds and megabytes, as one table."""
        lines = ["", f"figures of the image lane, {ROWS:,} rows at each of {len(PARTIES)} parties"]
        lines += [f"image of the {t}: {size / 1e6:.0f} MB, built in {s:.0f} s" for t, (size, s) in images.items()]
        lines += [f"{what}: {seconds:.1f} s" for what, seconds in self.seconds.items()]
        lines += ["", f"{'megabytes, at most':<22}" + "".join(f"{when:>20}" for when in self.memory)]
        for what in sorted({w for found in self.memory.values() for w in found}):
            lines.append(f"{what:<22}" + "".join(f"{f.get(what, 0):>20.0f}" for f in self.memory.values()))
        return "\n".join((*lines, ""))

    def gateway(self, network):
        """This machine's address on a network of the room."""
        return program(
            ["podman", "network", "inspect", "--format", "{{(index .Subnets 0).Gateway}}", f"{PROJECT}_{network}"],
            env=environment(),
        ).strip()

    def move_to_database(self, party, server, root):
        """Let a party read a PostgreSQL server on this machine, over its own internal network; returns the way back."""
        folder = self.made.folder / party
        (folder / "data/database-root.pem").write_bytes(root)
        before = (folder / "party.toml").read_text()
        url = f"postgresql://clerk@{HOST}:{server.port}/postgres?hostaddr={self.gateway(f'db_{party}')}"
        source = {"url": f"{url}&sslrootcert=/data/database-root.pem", "tables": {"sales": {"origin": "public.sales"}}}
        self.configure(party, tomli_w.dumps({**tomllib.loads(before), "sources": {"db": source}}))
        return lambda: self.configure(party, before)

    def configure(self, party, text):
        (self.made.folder / party / "party.toml").write_text(text)  # in place: the container sees the inode
        self.podman("restart", "-t", "5", self.name(party))
        self.await_health(party)

    def await_health(self, *services, limit_s=240):
        deadline = time.monotonic() + limit_s
        for service in services or NODES:
            while True:
                try:
                    self.inside(service, "python", "-m", "servers.health")
                    break
                except RuntimeError:
                    assert time.monotonic() < deadline, self.log(service)[-2000:]
                    time.sleep(0.5)


@pytest.fixture(scope="module")
def images():
    """Both images, built as a user builds them; seconds and bytes."""
    if "images" not in demanded():
        pytest.skip("SKIPPED LANE images: not asked for, since it takes minutes (make images)")
    if reason := able():
        lane_missing("images", reason)
    found = {}
    for target in LIMITS_MB:
        started = time.monotonic()
        name = f"localhost/sealroom-{target}:{TAG}"
        program(
            ["podman", "build", "--format", "docker", "--pull-never", "-q", "-f", "servers/deploy/Containerfile",
             "--target", target, "-t", name, "."],
            env=environment(), cwd=ROOT, timeout=BUILD_LIMIT_S,
        )  # fmt: skip
        size = int(program(["podman", "image", "inspect", "--format", "{{.Size}}", name], env=environment()))
        found[target] = size, time.monotonic() - started
    return found


@pytest.fixture(scope="module")
def room(images, tmp_path_factory):
    started = time.monotonic()
    made = write_compose_room(tmp_path_factory.mktemp("compose") / PROJECT, rows=ROWS, tag=TAG)
    room = Room(made)
    room.seconds["room folder written"] = time.monotonic() - started
    try:
        room.compose("up", "-d")
        room.seconds["compose up returned"] = time.monotonic() - started
        room.await_health()
        room.seconds["all nodes healthy"] = time.monotonic() - started
        with room.watch_memory("at rest"):
            time.sleep(1)
        yield room
    finally:
        room.compose("down", "-v", "-t", "1")


@pytest.fixture(scope="module")
def analyst(room):
    found = Analyst(["podman", "exec", "-i", room.name("ana"), "python", "-c", DRIVER, "/etc/sealroom"])
    yield found
    found.close()


@pytest.fixture(scope="module")
def faults():
    return Faults("image lane (podman)")


@pytest.fixture(scope="module")
def expected(room):
    files = [str(room.made.folder / p / "data/sales.parquet") for p in PARTIES]
    return [list(row) for row in duckdb.sql(GROUPED.replace("sales", f"read_parquet({files})")).fetchall()]


@pytest.mark.lane("docker-compose")
def test_docker_compose_runs_the_same_file(images, tmp_path):
    """docker-compose 1.29 against podman's Docker API: the file unchanged, up, one query, down."""
    if "docker-compose" not in demanded():
        pytest.skip("SKIPPED LANE docker-compose: not asked for (make images)")
    if (compose := shutil.which("docker-compose")) is None:
        lane_missing("docker-compose", "it is not installed (Debian: apt-get install docker-compose)")
    made = write_compose_room(tmp_path / "srdocker", rows=50, tag=TAG)
    socket = tmp_path / "podman.sock"
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{socket}"], env=environment(), stderr=subprocess.DEVNULL
    )
    docker = {**environment(), "DOCKER_HOST": f"unix://{socket}", "COMPOSE_PROJECT_NAME": "srdocker"}
    options = {"env": docker, "cwd": made.folder}
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.1)
        program([compose, "up", "-d"], **options)
        question = [compose, "exec", "-T", "ana", "sealroom", "query", "--json", "SELECT COUNT(*) AS n FROM sales"]
        deadline = time.monotonic() + 120
        while True:
            try:
                answer = program(question, **options)
                break
            except RuntimeError:
                assert time.monotonic() < deadline
                time.sleep(1)
        assert "150" in answer
    finally:
        program([compose, "down", "-v", "-t", "1"], **options)
        service.terminate()
        service.wait(timeout=20)


@pytest.mark.parametrize("target", LIMITS_MB)
def test_images_are_small(images, target):
    assert images[target][0] / 1e6 < LIMITS_MB[target]


def test_an_encrypted_query_across_containers(room, images, analyst, expected):
    started = time.monotonic()
    with room.watch_memory("first query"):
        first = analyst.ask(GROUPED)
    room.seconds["first encrypted answer"] = room.seconds["all nodes healthy"] + time.monotonic() - started
    room.seconds["the same, with both images' builds"] = room.seconds["first encrypted answer"] + sum(
        seconds for _, seconds in images.values()
    )
    room.seconds["the first query by itself"] = first["seconds"]
    with room.watch_memory("second query"):
        second = analyst.ask(GROUPED)
    room.seconds["a warm query by itself"] = second["seconds"]

    assert first["rows"] == second["rows"] == expected


def test_the_command_of_the_readme_answers(room, expected):
    found = json.loads(room.inside("ana", "sealroom", "query", "--json", GROUPED))

    assert str(expected[0][1]) in json.dumps(found)


def test_a_training_job_across_containers(analyst, room):
    files = [str(room.made.folder / p / "data/sales.parquet") for p in PARTIES]
    pooled = duckdb.sql(
        f"SELECT regr_intercept(amount, quantity), regr_slope(amount, quantity) FROM read_parquet({files})"
        " WHERE amount IS NOT NULL"
    ).fetchall()[0]

    answer = analyst.ask(
        {"train": {"table": "sales", "target": "amount", "features": ["quantity"], "regularization": 0.0}}
    )

    assert "code" not in answer, answer
    assert answer["intercept"] == pytest.approx(pooled[0], rel=1e-4)
    assert answer["coefficients"]["quantity"] == pytest.approx(pooled[1], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("service", [*NODES, "ana"])
def test_containers_have_no_rights(room, service):
    status = dict(
        line.split(":", 1) for line in room.inside(service, "cat", "/proc/1/status").splitlines() if ":" in line
    )

    assert status["Uid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    with pytest.raises(RuntimeError, match=r"Read-only file system|Permission denied"):
        room.inside(service, "touch", "/opt/sealroom/x")


def test_workers_are_confined_inside_containers_too(room, analyst):
    """Landlock and seccomp hold in a container without rights; what is not in force would be logged."""
    for party in PARTIES:
        assert "not in force" not in room.log(party)


def test_parties_do_not_see_each_other(room):
    assert room.inside("north", "getent", "hosts", "coordinator")
    with pytest.raises(RuntimeError):
        room.inside("north", "getent", "hosts", "south")
    with pytest.raises(RuntimeError):
        room.inside("ana", "getent", "hosts", "north")


def test_the_coordinator_has_no_code_that_opens_anything(room):
    with pytest.raises(RuntimeError, match=r"No module named 'mpc\.keys\.secret'"):
        room.inside("coordinator", "python", "-c", "import mpc.keys.secret")


def test_the_health_check_of_the_image(room):
    room.podman("healthcheck", "run", room.name("north"))


def test_logs_are_json_lines(room):
    for service in NODES:
        events = [json.loads(line)["event"] for line in room.log(service).splitlines() if line.startswith("{")]
        assert any(event.startswith("serving on") for event in events)


def test_a_network_partition(room, analyst, faults, expected):
    wire = f"{PROJECT}_wire_west"
    room.podman("network", "disconnect", wire, room.name("west"))
    answer = analyst.ask(GROUPED)
    room.podman("network", "connect", "--alias", "west", wire, room.name("west"))
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add("network of west cut before a query, then healed", answer, seconds)

    assert "west" in answer["said"]
    assert rows == expected


@pytest.mark.parametrize("victim", ["south", "coordinator"])
def test_a_kill_and_a_restart(room, analyst, faults, expected, victim):
    killed = []

    def kill(step):
        if step == "compute" and not killed:
            room.podman("kill", room.name(victim))
            killed.append(step)

    answer = analyst.ask(GROUPED, kill)
    started = time.monotonic()
    room.podman("start", room.name(victim))
    _, rows = analyst.until_rows(GROUPED)
    faults.add(f"{victim} killed in the middle, started again", answer, time.monotonic() - started)

    assert answer.get("rows") == expected or "code" in answer
    assert rows == expected


def test_a_frozen_party(room, analyst, faults, expected):
    frozen = []

    def freeze(step):
        if step == "compute" and not frozen:
            room.podman("pause", room.name("north"))
            frozen.append(step)

    answer = analyst.ask(GROUPED, freeze)
    room.podman("unpause", room.name("north"))
    seconds, rows = analyst.until_rows(GROUPED)
    faults.add("north frozen in the middle, then thawed", answer, seconds)

    assert answer.get("rows") == expected or "north" in answer["said"]
    assert rows == expected


def test_a_restart_keeps_jobs_and_records(room, analyst, expected):
    """`down` and `up` without -v: jobs are still listed, and the next query works."""
    listing = ("sealroom", "jobs", "list", "--json")
    before = json.loads(room.inside("ana", *listing))
    analyst.close()
    started = time.monotonic()
    room.compose("down", "-t", "10")
    room.seconds["all stopped"] = time.monotonic() - started
    started = time.monotonic()
    room.compose("up", "-d")
    room.await_health()
    room.seconds["healthy again, volumes kept"] = time.monotonic() - started

    after = json.loads(room.inside("ana", *listing))

    assert before
    assert after == before
    again = Analyst(["podman", "exec", "-i", room.name("ana"), "python", "-c", DRIVER, "/etc/sealroom"])
    assert again.ask(GROUPED)["rows"] == expected
    again.close()


def test_a_node_stops_while_it_starts(room):
    """As a container's first process it hears no signal that it has no handler for: not even then must it be killed."""
    room.podman("stop", "-t", "30", room.name("west"))
    room.podman("start", room.name("west"))
    time.sleep(0.3)
    started = time.monotonic()
    room.podman("stop", "-t", "30", room.name("west"))
    seconds = time.monotonic() - started
    room.podman("start", room.name("west"))
    room.await_health("west")

    assert seconds < 15


def renew(room, name):
    tools = {**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    program(["sh", "servers/deploy/renew-certificate.sh", str(room.made.folder / name)], env=tools, cwd=ROOT)


def test_a_certificate_is_renewed_without_a_restart(room, expected):
    before = room.inside("north", "cat", "/run/secrets/tls.pem")
    renew(room, "north")

    assert room.inside("north", "cat", "/run/secrets/tls.pem") != before
    room.inside("north", "python", "-m", "servers.health")
    assert "a renewed certificate is in use" in room.log("north")


@pytest.fixture
def second_analyst(room):
    """After the restart of everything, an analyst of its own for each test."""
    found = Analyst(["podman", "exec", "-i", room.name("ana"), "python", "-c", DRIVER, "/etc/sealroom"])
    yield found
    found.close()


def test_an_expired_certificate(room, second_analyst, faults, expected):
    """A node started with an expired certificate is refused by name; a renewal, without a restart, cures it."""
    before = room.log("south").count("serving on")
    expired_certificate(room.made.folder / "south", "south")
    room.podman("restart", "-t", "5", room.name("south"))
    for _ in range(300):  # its health check would fail, as everybody's handshake does
        if room.log("south").count("serving on") > before:
            break
        time.sleep(0.1)
    answer = second_analyst.ask(GROUPED)
    renew(room, "south")
    seconds, rows = second_analyst.until_rows(GROUPED)
    faults.add("certificate of south expired, then renewed", answer, seconds)

    assert answer["code"] == "E4101"
    assert "south" in answer["said"]
    assert "has expired" in answer["said"]
    assert rows == expected


def test_a_database_that_goes_down(room, second_analyst, faults, expected):
    """A party reads PostgreSQL over TLS on its own internal network; the server ends, and comes back."""
    with postgres_server(certificate=(authority := Authority("root of the database")).issue(HOST)) as server:
        server.fill("sales", room.made.folder / "north/data/sales.parquet")
        server.execute("CREATE ROLE clerk LOGIN", "GRANT SELECT ON sales TO clerk")
        back = room.move_to_database("north", server, authority.certificate)
        try:
            _, moved = second_analyst.until_rows(GROUPED)  # the node was started again
            server.stop()
            answer = second_analyst.ask(GROUPED)
            server.start()
            seconds, rows = second_analyst.until_rows(GROUPED)
        finally:
            back()
    faults.add("database of north down, then up", answer, seconds)

    assert moved == expected
    assert answer["code"] == "E3301"
    assert "north" in answer["said"]
    assert "cannot be reached" in answer["said"]
    assert rows == expected


def test_every_fault_was_overcome_and_every_figure_told(room, images, faults, record_property):
    """Both tables are printed at the end of the run."""
    with room.watch_memory("at the end"):
        time.sleep(1)
    record_property("table", faults.report() + room.figures(images))

    assert len(faults.recoveries) == 6
    assert all(recovery < 120 for _, recovery in faults.recoveries)
