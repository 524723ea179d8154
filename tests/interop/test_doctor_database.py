"""The doctor beside a real PostgreSQL: each fault of a database alone is named, with its cure, and shows no secret."""

import pytest
import tomli_w

from mpc.client.doctor import Host, Level
from mpc.client.doctor_folder import folder_findings
from mpc.client.members import MemberFolder, enrol
from mpc.client.rooms import RoomFolder, sign_draft
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.keys.manifest import Manifest, SignedManifest
from mpc.parties import Role
from tests.interop.postgres_server import postgres_server

pytestmark = [pytest.mark.database, pytest.mark.lane("database"), pytest.mark.xdist_group("doctor-database")]

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def server():
    with postgres_server() as running:
        access = running.folder / "data" / "pg_hba.conf"
        access.write_text("local all locked scram-sha-256\nlocal all refused reject\n" + access.read_text())
        running.execute(
            "SELECT pg_reload_conf()",
            "CREATE ROLE reader LOGIN",
            f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE refused LOGIN",
            "CREATE TABLE sales (x int)",
            "CREATE TABLE forbidden (x int)",
            "CREATE TABLE narrow (y int)",
            "CREATE TABLE odd (x interval, z int)",
            "CREATE VIEW closed AS SELECT x FROM sales",
            "CREATE SCHEMA shut",
            "CREATE TABLE shut.sales (x int)",
            "GRANT SELECT ON sales, narrow, odd TO reader, locked",
        )
        yield running


@pytest.fixture(scope="module")
def north(tmp_path_factory):
    """A party in a sealed room whose dictionary has one table."""
    path = tmp_path_factory.mktemp("room")
    members = [
        enrol(path / "north", Role.PARTY, "north", endpoint="north.example:7001")[0],
        enrol(path / "south", Role.PARTY, "south", endpoint="south.example:7002")[0],
        enrol(path / "hub", Role.COORDINATOR, "hub", endpoint="hub.example:7003")[0],
        enrol(path / "ana", Role.ANALYST, "ana")[0],
    ]
    room = RoomFolder.create(path / "acme", "acme")
    room.add([m.enrolment_file for m in members])
    table = Table(name="sales", parties=("north", "south"), columns=(Column(name="x", type="INTEGER"),))
    draft = room.draft().manifest
    room.save(Manifest.from_mapping({**draft.to_mapping(), "dictionary": _plain(Dictionary(tables=(table,)))}))
    room.collect([sign_draft(room.draft_file, m)[0] for m in members])
    room.seal()
    members[0].install(SignedManifest.load(room.sealed_file))
    return members[0].path


def _plain(dictionary):
    import msgspec

    return msgspec.to_builtins(dictionary)


def looked_at(north, url, table):
    """What the doctor says of the source."""
    source = {"url": url, "tables": {"sales": table}}
    config = {"name": "north", "listen": "127.0.0.1:1", "sources": {"db": source}}
    (north / "party.toml").write_text(tomli_w.dumps(config))
    host = Host(bind=lambda *_at: None, resolve=lambda _name: ["127.0.0.1"], dial=lambda *_at: None)
    return [f for f in folder_findings(host, MemberFolder.at(north)) if f.check.startswith("source")]


def test_a_database_that_works_has_nothing_to_cure(server, north):
    (found,) = looked_at(north, server.url("reader"), {})
    (locked,) = looked_at(north, server.url(f"locked:{PASSWORD}"), {"origin": "public.sales"})

    assert (found.level, locked.level) == (Level.OK, Level.OK)
    assert "as the room's dictionary says" in found.text


@pytest.mark.parametrize(
    ("role", "options", "table", "said", "cure"),
    [
        ("locked:wrong", {}, {}, "it refuses this user's password", "psql"),
        ("locked", {}, {}, "it refuses this user's password", "psql"),
        ("nobody_here", {}, {}, "no such user", "psql"),
        ("refused", {}, {}, "pg_hba.conf", "psql"),
        ("reader", {"dbname": "none"}, {}, "no database of that name", "psql"),
        ("reader", {"sslmode": "bogus"}, {}, "does not understand", "psql"),
        ("reader", {"port": 1}, {}, "its socket is not there", "start the database"),
        ("reader", {}, {"origin": "gone"}, 'no "public"."gone"', "party.toml"),
        ("reader", {}, {"origin": "forbidden"}, "42501", "GRANT SELECT ON forbidden"),
        ("reader", {}, {"origin": "closed"}, "42501", "GRANT SELECT ON closed"),
        ("reader", {}, {"origin": "shut.sales"}, "42501", "USAGE on its schema"),
        ("reader", {}, {"origin": "narrow"}, "no column x", "columns"),
        ("reader", {}, {"origin": "odd"}, "type that no dictionary can declare", "cast it to INTEGER"),
        ("reader", {}, {"where": "no_such > 1"}, "42703", "where"),
    ],
)
def test_a_fault_of_the_database_is_named(server, north, role, options, table, said, cure):
    (found,) = looked_at(north, server.url(role, **options), table)

    assert found.level is Level.FAIL
    assert said in found.text
    assert cure in found.cure
    assert PASSWORD not in found.text + found.cure


def test_an_address_in_a_secret_is_followed(server, north, tmp_path):
    secret = tmp_path / "database"
    secret.write_text(server.url("locked:wrong") + "\n")
    (found,) = looked_at(north, f"file:{secret}", {})

    assert (found.level, "password" in found.text) == (Level.FAIL, True)
