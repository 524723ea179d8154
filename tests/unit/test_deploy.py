"""What images are made of: the lists of libraries, the coordinator's import graph, and the compose folder."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from mpc.client.compose import CONTAINER_USER, write_compose_room
from mpc.errors import ConfigurationError
from mpc.keys.manifest import SignedManifest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "servers/deploy"


def listed(name):
    lines = (DEPLOY / name).read_text().splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_partys_list_is_the_projects(project):
    extras = project["optional-dependencies"]

    assert listed("party.txt") == {*project["dependencies"], *extras["postgres"], *extras["sqlite"]}


def test_the_coordinators_list_is_part_of_it(project):
    assert listed("coordinator.txt") < set(project["dependencies"])


WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED or name.startswith(GONE):
            raise ImportError(f"{name} is not in the coordinator's image")

BLOCKED = set(sys.argv[1].split(","))
GONE = ("mpc.client", "mpc.keys.secret", "mpc.learn", "mpc.match", "mpc.plan", "mpc.policy", "mpc.schemes.secret",
        "mpc.score", "servers.party")
sys.meta_path.insert(0, Refuse())
import servers.coordinator.__main__
import servers.health
from mpc.keys.public import PublicKey
from mpc.params import parameter_set
from mpc.runtime.warming import warm_kernels
from mpc.schemes import public
for name in ("rlwe-2048-t30", "bfv-4096-t40", "insecure-clear-4096-t62"):
    public.adder(parameter_set(name)).start(1)
import mpc.schemes.paillier.public
warm_kernels(("rlwe-2048-t30",))
assert "mpc.keys.secret" not in sys.modules
"""


@pytest.mark.slow
def test_the_coordinator_runs_with_its_list_alone(project):
    """Everything else that the project names, and what `trim.sh` deletes, is refused; every scheme's adder works."""
    name_of = lambda line: re.split(r"[<>=!,; ]", line)[0].lower()  # noqa: E731
    allowed = {name_of(line) for line in listed("coordinator.txt")}
    everything = {*project["dependencies"], *(d for e in project["optional-dependencies"].values() for d in e)}
    refused = {name_of(d) for d in everything} - allowed
    blocked = {module for module, names in packages_distributions().items() if {n.lower() for n in names} & refused}

    assert {"duckdb", "tenseal", "pyarrow", "sqlglot", "phe", "typer"} <= blocked
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(sorted(blocked))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


# ---- the compose folder ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_compose_room(tmp_path_factory.mktemp("rooms") / "acme", rows=50)


def test_a_compose_room_is_sealed_and_installed_everywhere(room):
    manifest = SignedManifest.load(room.folder / "room/room.toml").verify()

    assert manifest.parties == ("north", "south", "west")
    for member in manifest.members:
        assert SignedManifest.load(room.folder / member.name / "room.toml").verify().room == manifest.room


def test_every_nodes_configuration_is_read_by_its_node(room, monkeypatch):
    from servers.coordinator.config import load_config as load_coordinator
    from servers.party.config import load_config as load_party

    monkeypatch.delenv("SEALROOM_LISTEN", raising=False)
    assert load_coordinator(room.folder / "coordinator/coordinator.toml").listen == "0.0.0.0:7443"
    for party in room.parties:
        assert load_party(room.folder / party / "party.toml").sources["sales"].url == "parquet:data/sales.parquet"


def test_the_compose_file_keeps_to_what_all_understand(room):
    text = room.file.read_text()

    assert not re.search(r"^(name|version):", text, re.MULTILINE)
    assert not re.search(r"condition:|profiles:|develop:|configs:|!reset", text)
    assert text.count("read_only: true") == text.count("cap_drop: [ALL]") == 5
    assert text.count(f'user: "{CONTAINER_USER}:{CONTAINER_USER}"') == 5
    assert text.count("no-new-privileges:true") == 5
    assert text.count("timeout:1") == 5
    assert "root.key" not in text
    assert "ports:" not in text
    assert all(f"  db_{p}: {{internal: true}}" in text for p in room.parties)


def test_each_image_is_built_by_one_service(room):
    """Services are built side by side: four that build the same image would compile its kernels four times."""
    built = re.findall(r"image: (\S+)\n    build:", room.file.read_text())

    assert built == ["localhost/sealroom-coordinator:dev", "localhost/sealroom-party:dev"]
    assert set(re.findall(r"image: (\S+)", room.file.read_text())) == set(built)


def test_a_party_shares_a_network_with_the_coordinator_alone(room):
    blocks = dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    networks: \[(.*?)\]", room.file.read_text(), re.MULTILINE))
    networks = {name: set(text.split(", ")) for name, text in blocks.items()}

    assert set(networks) == {"coordinator", "north", "south", "west", "ana"}
    assert networks["north"] & networks["south"] == set()
    assert networks["north"] & networks["coordinator"] == {"wire_north"}
    assert networks["ana"] & networks["coordinator"] == {"ask"}
    assert networks["ana"] & networks["north"] == set()


def test_secrets_are_closed_to_others(room):
    for member in (*room.parties, "coordinator", "ana"):
        assert (room.folder / member / "keys").stat().st_mode & 0o077 == 0
        assert (room.folder / member / "keys/root.key").stat().st_mode & 0o077 == 0


def test_a_folder_in_use_is_refused(room):
    with pytest.raises(ConfigurationError, match="not empty"):
        write_compose_room(room.folder)


def test_without_a_checkout_nothing_is_written(tmp_path):
    with pytest.raises(ConfigurationError, match="checkout"):
        write_compose_room(tmp_path / "acme", source=tmp_path)

    assert not (tmp_path / "acme").exists()
