"""The doctor: each fault injected alone is named with its cure, and nothing else turns red."""

import datetime as dt
import errno
import json
import re
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.client.cli import main
from mpc.client.doctor import Host, Level, machine_findings
from mpc.client.doctor_bundle import write_bundle
from mpc.client.doctor_folder import folder_findings
from mpc.client.doctor_peers import peer_findings
from mpc.client.local import free_ports
from mpc.client.members import MemberFolder, enrol
from mpc.client.rooms import RoomFolder, sign_draft
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.keys.identity import TlsMaterial, issue_leaf, new_root
from mpc.keys.manifest import Manifest, SignedManifest
from mpc.parties import Role

GOOD = Host(
    processor=lambda: frozenset({"aes", "avx512ifma"}),
    cores=4,
    memory_bytes=lambda: 8 << 30,
    clock_error_s=lambda: 0.001,
    free_bytes=lambda _path: 100 << 30,
    resolve=lambda _host: ["192.0.2.1"],
    dial=lambda _host, _port: None,
    bind=lambda _host, _port: None,
    writable=lambda _path: True,
    node_check=lambda _role, _file: [],
)

POLICY = 'analysts = ["ana"]\n[tables.sales]\ncount = true\n'


def _raise(error):
    def function(*_arguments):
        raise error

    return function


def _bad(findings):
    return {(f.check, f.level.value): f for f in findings if f.level is not Level.OK}


# ---- machine -----------------------------------------------------------------------------------------------------


def test_a_good_machine_has_nothing_to_cure():
    assert _bad(machine_findings(GOOD)) == {}


@pytest.mark.parametrize(
    ("fault", "check", "level", "text"),
    [
        ({"python": (3, 10)}, "software", "FAIL", "Python 3.10"),
        ({"version_of": lambda name: None if name == "tenseal" else "1"}, "libraries", "FAIL", "missing: tenseal"),
        ({"processor": frozenset}, "processor", "WARN", "no AES"),
        ({"processor": lambda: frozenset({"aes"})}, "processor", "WARN", "no AVX-512 IFMA"),
        ({"memory_bytes": lambda: 1 << 30}, "memory", "WARN", "1.0 GiB"),
        ({"clock_error_s": lambda: float("inf")}, "clock", "WARN", "not synchronised"),
    ],
)
def test_a_fault_of_the_machine_is_named(fault, check, level, text):
    found = _bad(machine_findings(replace(GOOD, **fault)))

    assert set(found) == {(check, level)}
    assert text in found[check, level].text
    assert found[check, level].cure


def test_a_system_that_does_not_tell_of_its_clock_is_no_fault():
    assert _bad(machine_findings(replace(GOOD, clock_error_s=lambda: None))) == {}


# ---- folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def north(tmp_path):
    """A party in a sealed room, with a policy and a file."""
    data = tmp_path / "sales.parquet"
    pq.write_table(pa.table({"x": pa.array([1], pa.int32())}), data)
    sources = {"sales": f"parquet:{data}"}
    members = [
        enrol(
            tmp_path / "north",
            Role.PARTY,
            "north",
            endpoint="north.example:7001",
            listen=f"127.0.0.1:{free_ports(1)[0]}",
            sources=sources,
        )[0],
        enrol(tmp_path / "south", Role.PARTY, "south", endpoint="south.example:7002")[0],
        enrol(tmp_path / "hub", Role.COORDINATOR, "hub", endpoint="hub.example:7003")[0],
        enrol(tmp_path / "ana", Role.ANALYST, "ana")[0],
    ]
    room = RoomFolder.create(tmp_path / "acme", "acme")
    room.add([m.enrolment_file for m in members])
    table = Table(name="sales", parties=("north", "south"), columns=(Column(name="x", type="INTEGER"),))
    room.save(Manifest.from_mapping({**room.draft().manifest.to_mapping(), "dictionary": _plain(table)}))
    room.collect([sign_draft(room.draft_file, m)[0] for m in members])
    room.seal()
    for member in members:
        member.install(SignedManifest.load(room.sealed_file))
    (members[0].path / "policy.toml").write_text(POLICY)
    return members[0]


def _plain(table):
    import msgspec

    return msgspec.to_builtins(Dictionary(tables=(table,)))


def test_a_good_folder_has_nothing_to_cure(north):
    assert _bad(folder_findings(GOOD, north)) == {}


def _loose_keys(member):
    (member.keys.path / "identity.key").chmod(0o644)


def _broken_identity(member):
    (member.keys.path / "identity.key").write_text("zz")


def _expired(member, *, days=1, age=2, root=None):
    keys = member.keys.path
    issuer = root or TlsMaterial((keys / "root.pem").read_bytes(), (keys / "root.key").read_bytes())
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=age)
    leaf = issue_leaf(issuer, Role.PARTY, "north", ("north.example",), days=days, now=start)
    (keys / "tls.pem").write_bytes(leaf.certificate)
    (keys / "tls.key").write_bytes(leaf.key)


def _ends_soon(member):
    _expired(member, days=10, age=1)


def _from_tomorrow(member):
    _expired(member, days=10, age=-1)


def _foreign_root(member):
    _expired(member, days=90, age=0, root=new_root(Role.PARTY, "north"))


def _other_host(member):
    member.keys.renew(Role.PARTY, "north", ("other.example",))


def _no_room(member):
    member.room_file.unlink()


def _edited_room(member):
    member.room_file.write_text(member.room_file.read_text().replace("south.example", "evil.example"))


def _closed_policy(member):
    (member.path / "policy.toml").write_text("")


def _open_policy(member):
    (member.path / "policy.toml").write_text('analysts = ["*"]\n[tables.sales]\nallow_all = true\n')


def _wrong_policy(member):
    (member.path / "policy.toml").write_text("analyst = []\n")


def _no_certificate(member):
    (member.keys.path / "tls.pem").unlink()


def _keys_mixed_up(member):
    before = (member.keys.path / "tls.pem").read_bytes()
    member.keys.renew(Role.PARTY, "north", ("north.example",))
    (member.keys.path / "tls.pem").write_bytes(before)


def _windows_policy(member):
    (member.path / "policy.toml").write_bytes(POLICY.encode("utf-16"))


def _no_data(member):
    (member.path.parent / "sales.parquet").unlink()


@pytest.mark.parametrize(
    ("break_it", "check", "level", "text", "cure"),
    [
        (_loose_keys, "keys", "FAIL", "identity.key", "chmod 600"),
        (_broken_identity, "keys", "FAIL", "identity.key", "restore"),
        (_expired, "certificate", "FAIL", "it expired on", "certificate renew"),
        (_ends_soon, "certificate", "WARN", "8 days left", "certificate renew"),
        (_from_tomorrow, "certificate", "FAIL", "valid only from", "set the clock"),
        (_foreign_root, "certificate", "FAIL", "not issued by", "certificate renew"),
        (_other_host, "endpoint", "FAIL", "others dial north.example", "--host north.example"),
        (_no_certificate, "certificate", "FAIL", "cannot be read", "certificate renew"),
        (_keys_mixed_up, "certificate", "FAIL", "do not belong together", "certificate renew"),
        (_windows_policy, "policy", "FAIL", "UTF-8", "policy.toml"),
        (_no_room, "room", "FAIL", "no room is installed", "room install"),
        (_edited_room, "room", "FAIL", "a signature does not hold", "room install"),
        (_closed_policy, "policy", "WARN", "no analyst", "policy.toml"),
        (_open_policy, "policy", "WARN", "every column of sales", "instead of allow_all"),
        (_wrong_policy, "policy", "FAIL", "analyst", "policy.toml"),
        (_no_data, "source sales", "FAIL", "does not exist", "party.toml"),
    ],
)
def test_a_fault_of_the_folder_is_named(north, break_it, check, level, text, cure):
    break_it(north)
    found = _bad(folder_findings(GOOD, north))

    assert (check, level) in found
    assert text in found[check, level].text
    assert cure in found[check, level].cure
    others = {key for key in found if key[0] != check} - ({("room", "FAIL")} if break_it is _broken_identity else set())
    assert others == set()


@pytest.mark.parametrize(("free", "level"), [(100 << 20, "WARN"), (10 << 20, "FAIL")])
def test_a_full_disk_is_named(north, free, level):
    assert set(_bad(folder_findings(replace(GOOD, free_bytes=lambda _path: free), north))) == {("disk", level)}


@pytest.mark.parametrize(
    ("url", "fault", "text"),
    [
        ("postgresql://db.example:5433/x", {"resolve": _raise(socket.gaierror())}, "host name does not resolve"),
        (
            "postgresql://db.example:5433/x",
            {"dial": _raise(TimeoutError("timed out"))},
            "the database does not answer (timed out)",
        ),
        ("env:NOT_SET_ANYWHERE", {}, "NOT_SET_ANYWHERE does not exist"),
        ("file:/no/such/secret", {}, "/no/such/secret does not exist"),
    ],
)
def test_a_fault_of_a_database_is_named(north, url, fault, text):
    file = north.path / "party.toml"
    file.write_text(f'name = "north"\nlisten = "x:1"\n[sources.db]\nurl = "{url}"\n[sources.db.tables.sales]\n')
    found = _bad(folder_findings(replace(GOOD, **fault), MemberFolder.at(north.path)))

    assert set(found) == {("source db", "FAIL")}
    assert text in found["source db", "FAIL"].text


@pytest.mark.parametrize(
    ("fault", "check", "text"),
    [
        ({"bind": _raise(OSError(errno.EADDRINUSE, "in use"))}, "port", "another program listens on 127.0.0.1"),
        ({"bind": _raise(OSError(errno.EACCES, "denied"))}, "port", "this user may not listen"),
        ({"bind": _raise(OSError(errno.EADDRNOTAVAIL, "Cannot assign"))}, "port", "no address of this machine"),
        ({"bind": _raise(socket.gaierror(-2, "Name not known"))}, "port", "no address of this machine"),
        ({"writable": lambda _path: False}, "disk", "cannot be written by this user"),
    ],
)
def test_a_port_that_is_taken_and_a_disk_that_is_read_only_are_named(north, fault, check, text):
    found = _bad(folder_findings(replace(GOOD, **fault), north))

    assert set(found) == {(check, "FAIL")}
    assert text in found[check, "FAIL"].text
    assert found[check, "FAIL"].cure


def test_a_check_that_does_not_end_is_told(north):
    found = _bad(folder_findings(replace(GOOD, node_check=lambda _role, _file: None), north))

    assert set(found) == {("configuration", "WARN")}
    assert "--check" in found["configuration", "WARN"].cure


_SOURCES = '[sources.s]\nurl = "parquet:../sales.parquet"\n'


@pytest.mark.parametrize(
    ("text", "check", "level", "said"),
    [
        ("nmae = 1\n", "configuration", "FAIL", "nmae"),
        ('[limits]\nmemory_bytes = "1GB"\n', "configuration", "FAIL", "limits.memory_bytes"),
        ("sources = [1]\n", "configuration", "FAIL", "$.sources"),
        ('sources = {s = "x"}\n', "configuration", "FAIL", "$.sources"),
        (f'{_SOURCES}tables = ["sales"]\n', "configuration", "FAIL", "tables"),
        ('[sources.s]\nurl = "mysql://x/y"\n[sources.s.tables.sales]\n', "source s", "FAIL", "mysql is not a kind"),
        ('[sources.s]\nurl = "env:NOT_SET"\n[sources.s.tables.sales]\n', "source s", "FAIL", "NOT_SET does not exist"),
        (f'{_SOURCES}[sources.s.tables.sales]\ncolumns = {{x = "y"}}\n', "source s", "FAIL", "has no columns"),
        (f'{_SOURCES}[sources.s.tables.sales]\ncolumns = {{y = "x"}}\n', "source s", "FAIL", "has no column x"),
        (f"{_SOURCES}[sources.s.tables.sales]\n[sources.s.tables.more]\n", "source s", "WARN", "has no table more"),
        (f"{_SOURCES}[sources.s.tables.more]\n", "table sales", "FAIL", "no source has it"),
    ],
)
def test_what_the_node_would_meet_in_its_configuration_is_named(north, text, check, level, said):
    (north.path / "party.toml").write_text(f'name = "north"\nlisten = "127.0.0.1:1"\n{text}')
    host = replace(GOOD, node_check=Host().node_check)
    found = _bad(folder_findings(host, MemberFolder.at(north.path)))

    assert (check, level) in found, found
    assert said in found[check, level].text
    assert found[check, level].cure
    assert {key for key in found if key[0] != check} <= {("source s", "WARN")}


# ---- connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "check", "text", "cure"),
    [
        ({"resolve": _raise(socket.gaierror())}, "hub name", "hub.example does not resolve", "DNS"),
        ({"dial": _raise(ConnectionRefusedError())}, "hub port", "nothing listens", "coordinator serve"),
        ({"dial": _raise(TimeoutError("timed out"))}, "hub port", "no answer from", "firewall"),
    ],
)
async def test_a_fault_of_a_connection_is_named_and_stops_the_next_steps(north, fault, check, text, cure):
    found = [f async for f in peer_findings(replace(GOOD, **fault), north, north.room())]
    last = found[-1]

    assert (last.check, last.level) == (check, Level.FAIL)
    assert text in last.text
    assert cure in last.cure
    assert all(f.level is Level.OK for f in found[:-1])


async def test_an_address_of_a_name_that_is_silent_while_another_answers_is_named(north):
    def dial(host, _port):
        if host == "192.0.2.2":
            raise TimeoutError("timed out")
        if host == "2001:db8::1":
            raise OSError(errno.ENETUNREACH, "no route")

    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    host = replace(GOOD, resolve=lambda _name: addresses, dial=dial)
    found = {f.check: f async for f in peer_findings(host, north, north.room())}

    assert found["hub port"].level is Level.WARN
    assert "not at 192.0.2.2," in found["hub port"].text


async def test_an_address_in_brackets_is_dialled_without_them(north):
    asked = []
    host = replace(GOOD, resolve=lambda name: asked.append(name) or [name], dial=lambda *at: asked.append(at))
    found = [f async for f in peer_findings(host, north, _with_endpoint_of(north, "hub", "[2001:db8::1]:7003"))]

    assert asked == ["2001:db8::1", ("2001:db8::1", 7003)]
    assert [f.level for f in found[:2]] == [Level.OK, Level.OK]


def test_a_certificate_for_an_address_is_for_its_endpoint_in_brackets(north, monkeypatch):
    monkeypatch.setattr(MemberFolder, "room", lambda member: _with_endpoint_of(member, "north", "[2001:DB8:0::1]:7001"))
    north.keys.renew(Role.PARTY, "north", ("2001:db8::1",))

    assert _bad(folder_findings(GOOD, north)) == {}


def _with_endpoint_of(member, name, endpoint):
    manifest = SignedManifest.load(member.room_file).manifest.to_mapping()
    for entry in manifest["members"]:
        if entry["name"] == name:
            entry["endpoint"] = endpoint
    return Manifest.from_mapping(manifest)


async def test_a_stranger_on_the_port_is_named(tmp_path, north):
    """Something listens at the coordinator's address and does not speak TLS."""
    import asyncio

    server = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    manifest = north.room().to_mapping()
    for member in manifest["members"]:
        if member["role"] == "coordinator":
            member["endpoint"] = f"127.0.0.1:{port}"
    async with server:
        found = [f async for f in peer_findings(GOOD, north, Manifest.from_mapping(manifest))]

    assert (found[-1].check, found[-1].level) == ("hub TLS", Level.FAIL)
    assert found[-1].cure


# ---- command -----------------------------------------------------------------------------------------------------


def test_the_command_reports_for_machines_and_fails_with_the_area(north, capsys):
    _no_data(north)
    code = main(["doctor", "--folder", str(north.path), "--offline", "--json"])
    found = json.loads(capsys.readouterr().out)

    assert code == found["exit_code"] == 3
    assert {f["check"] for f in found["findings"] if f["level"] == "FAIL"} == {"source sales"}
    assert found["counts"]["FAIL"] == 1


def test_a_folder_without_a_member_is_an_error(tmp_path, capsys):
    assert main(["doctor", "--folder", str(tmp_path)]) == 3
    assert "not a member's folder" in capsys.readouterr().err


def test_every_line_of_a_node_that_cannot_bind_is_json(north):
    file = north.path / "party.toml"
    file.write_text(re.sub('listen = ".*"', 'listen = "no-such-host.invalid:7443"', file.read_text()))
    command = [sys.executable, "-m", "mpc.client.cli", "party", "serve", "--quiet", "-C", str(north.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert done.returncode == 3
    assert "cannot listen on no-such-host.invalid:7443" in lines[-1]["event"]


# ---- the archive -------------------------------------------------------------------------------------------------

CANARIES = ("hunter2", "Zanzibar", "db-host-canary", "4711-canary", "consent = 'canary'", "4711081")


@pytest.fixture
def full_of_secrets(north, monkeypatch):
    """A folder whose every text that could be a secret or data holds a canary."""
    monkeypatch.setenv("SEALROOM_TEST_URL", "hunter2")
    (north.path / "party.toml").write_text(f"""
name = "north"
listen = "127.0.0.1:7001"
jobs_at_once = 3
[sources.crm]
url = "postgresql://reader:hunter2@{CANARIES[2]}/crm?options=Zanzibar"
[sources.crm.tables.sales]
origin = "public.Zanzibar"
where = "{CANARIES[4]}"
[sources.crm.tables.sales.columns]
name = "Zanzibar"
[sources.other]
url = "hunter2"
[sources.other.tables.more]
""")
    (north.path / "policy.toml").write_text(f"""
analysts = ["ana"]
[tables.sales]
count = true
minimum_units = 7
note = "{CANARIES[3]}"
[tables.sales.columns]
region = {{ use = ["group"], domain = ["Zanzibar"] }}
[catalogues.products]
analysts = ["ana", "{"Zanzibar" * 9}"]
queries_per_analyst = 9
only = [47110815, 47110816]
never = [47110817]
only_file = "Zanzibar.txt"
where = "{CANARIES[4]}"
""")
    state = north.path / "state"
    state.mkdir(exist_ok=True)
    (state / "party.db").write_text("Zanzibar")
    log = north.path.parent / "node.log"
    ours = {"time": "2026-01-01T00:00:00.000Z", "level": "info", "logger": "mpc.runtime", "event": "serving"}
    log.write_text(
        "\n".join(
            json.dumps(line)
            for line in (
                {**ours, "node": "north"},
                {**ours, "logger": "other.library", "event": "Zanzibar"},
                {**ours, "row": "Zanzibar"},
                ["Zanzibar"],
            )
        )
        + "\nTraceback: hunter2\n"
    )
    return MemberFolder.at(north.path), log


def test_the_archive_tells_of_everything_but_secrets_and_data(full_of_secrets, tmp_path):
    member, log = full_of_secrets
    findings = [*machine_findings(GOOD), *folder_findings(replace(GOOD, dial=_raise(TimeoutError())), member)]
    assert any(CANARIES[2] in f.cure for f in findings)
    path = tmp_path / "support.zip"
    names = write_bundle(path, GOOD, member, findings, [log])
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name).decode() for name in archive.namelist()}
    secrets = [(member.keys.path / k).read_text() for k in ("identity.key", "root.key", "tls.key")]

    assert tuple(entries) == names
    assert path.stat().st_mode & 0o077 == 0
    everything = "\n".join(entries[n] for n in entries if n != "findings.json")
    assert not [c for c in CANARIES if c in everything]
    for secret in secrets:
        assert not [line for line in secret.split() if len(line) > 20 and line in "".join(entries.values())]
    assert not [c for c in CANARIES if c in entries["findings.json"]]
    assert "the database does not answer" in entries["findings.json"]
    settings = json.loads(entries["party.toml.json"])
    assert settings["jobs_at_once"] == 3
    assert settings["listen"] == "127.0.0.1:7001"
    assert settings["sources"]["crm"]["url"] == "postgresql: left out"
    policy = json.loads(entries["policy.toml.json"])
    assert policy["tables"]["sales"]["minimum_units"] == 7
    assert policy["tables"]["sales"]["columns"]["region"]["use"] == ["group"]
    assert policy["catalogues"]["products"]["queries_per_analyst"] == 9
    assert policy["catalogues"]["products"]["analysts"] == ["ana", "left out"]
    assert {m["name"] for m in json.loads(entries["room.json"])["members"]} == {"ana", "hub", "north", "south"}
    assert json.loads(entries["software.json"])["libraries"]["tenseal"]
    lines = entries["logs/1.jsonl"].splitlines()
    assert json.loads(lines[0])["event"] == "serving"
    assert json.loads(lines[1])["event"].startswith("4 lines")
    assert len(lines) == 2
    assert all(name in entries["README.txt"] for name in ("findings.json", "party.toml.json", "logs/"))


def test_the_command_writes_the_archive_and_does_not_overwrite(north, tmp_path, capsys):
    words = ["doctor", "--folder", str(north.path), "--offline", "--bundle", str(tmp_path / "support.zip")]

    assert main(words) == 0
    assert "support.zip" in capsys.readouterr().out
    assert main(words) == 3
    assert "cannot be written" in capsys.readouterr().err
