"""Making a room: enrolments, drafts, signatures, sealing, installing, and what each step refuses."""

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.client.fingerprints import WORDS, fingerprint, spoken
from mpc.client.members import MemberFolder, enrol, load_enrolment
from mpc.client.proposals import dump_proposal, infer_proposal, load_proposal, merge_proposals
from mpc.client.rooms import RoomFolder, changes, sign_draft
from mpc.errors import ConfigurationError, IntegrityError
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.keys.manifest import SignedManifest
from mpc.parties import Role


@pytest.fixture
def members(tmp_path):
    """Two parties, a coordinator and an analyst, each enrolled in a folder of its own."""
    roles = {"north": Role.PARTY, "south": Role.PARTY, "hub": Role.COORDINATOR, "ana": Role.ANALYST}
    made = {}
    for port, (name, role) in enumerate(roles.items(), 7001):
        endpoint = "" if role is Role.ANALYST else f"{name}.example:{port}"
        made[name], _ = enrol(tmp_path / name, role, name, endpoint=endpoint)
    return made


@pytest.fixture
def room(tmp_path, members):
    """A draft with all of them and a dictionary of one table."""
    folder = RoomFolder.create(tmp_path / "acme", "acme")
    folder.add([m.enrolment_file for m in members.values()])
    proposal = tmp_path / "dictionary.toml"
    proposal.write_text(dump_proposal(Dictionary(tables=(_table(("north", "south")),))))
    folder.set_dictionary([proposal])
    return folder


def _table(parties, *columns, name="sales", **rest):
    columns = columns or (Column(name="amount", type="INTEGER", minimum=0, maximum=100),)
    return Table(name=name, parties=parties, columns=columns, **rest)


def _sealed(room, members):
    signatures = [sign_draft(room.draft_file, m)[0] for m in members.values()]
    assert room.collect(signatures) == ()
    return room.seal()


def test_a_room_is_sealed_when_every_member_has_signed_exactly_it(room, members):
    manifest = _sealed(room, members)

    assert SignedManifest.load(room.sealed_file).verify() == manifest
    assert not room.draft_file.exists()
    for member in members.values():
        assert member.install(SignedManifest.load(room.sealed_file)).room == manifest.room
        assert member.room() == manifest


def test_private_keys_stay_in_the_folder_and_are_readable_by_the_owner_alone(members):
    north = members["north"]
    for name in ("identity.key", "root.key", "tls.key"):
        assert (north.keys.path / name).stat().st_mode & 0o777 == 0o600
    public = north.enrolment_file.read_text()

    assert north.keys.identity().seed().hex() not in public
    assert "PRIVATE" not in public


def test_a_member_is_enrolled_once(members):
    with pytest.raises(ConfigurationError, match="enrolled once"):
        enrol(members["north"].path, Role.PARTY, "north", endpoint="north.example:7001")


@pytest.mark.parametrize(("role", "endpoint"), [(Role.PARTY, ""), (Role.PARTY, "nowhere"), (Role.ANALYST, "a:1")])
def test_an_endpoint_belongs_to_members_that_serve(tmp_path, role, endpoint):
    with pytest.raises(ConfigurationError):
        enrol(tmp_path / "x", role, "x", endpoint=endpoint)

    assert not (tmp_path / "x" / "keys").exists()


@pytest.mark.parametrize("change", ["endpoint", "role", "name"])
def test_an_enrolment_changed_on_the_way_is_refused(members, change):
    file = members["north"].enrolment_file
    swaps = {
        "endpoint": ("north.example", "evil.example"),
        "role": ('"party"', '"analyst"'),
        "name": ('"north"', '"nort"'),
    }
    file.write_text(file.read_text().replace(*swaps[change], 1))

    with pytest.raises(IntegrityError):
        load_enrolment(file)


def test_anothers_certificate_under_ones_own_key_is_refused(members):
    file = members["north"].enrolment_file
    roots = ((members[name].keys.path / "root.pem").read_text() for name in ("north", "south"))
    mine, theirs = (root.replace("\n", "\\n") for root in roots)
    text = file.read_text()
    assert mine in text
    file.write_text(text.replace(mine, theirs))

    with pytest.raises(IntegrityError):
        load_enrolment(file)


def test_a_known_name_with_another_key_needs_an_explicit_replacement(room, tmp_path):
    again, _ = enrol(tmp_path / "again", Role.PARTY, "north", endpoint="north.example:7001")

    with pytest.raises(ConfigurationError, match="another key"):
        room.add([again.enrolment_file])
    room.add([again.enrolment_file], replace=True)
    assert room.draft().manifest.member("north").public_key == again.keys.identity().public


def test_a_member_does_not_sign_a_draft_with_another_key_under_its_name(room, members, tmp_path):
    again, _ = enrol(tmp_path / "again", Role.PARTY, "north", endpoint="north.example:7001")
    room.add([again.enrolment_file], replace=True)

    with pytest.raises(ConfigurationError, match="another key"):
        sign_draft(room.draft_file, members["north"])


def test_a_signature_of_an_earlier_text_is_refused(room, members, tmp_path):
    signature, _ = sign_draft(room.draft_file, members["north"])
    room.remove("ana")

    with pytest.raises(ConfigurationError, match="another text"):
        room.collect([signature])


def test_a_forged_signature_is_refused(room, members):
    signature, _ = sign_draft(room.draft_file, members["north"])
    text = signature.read_text().replace('member = "north"', 'member = "south"')
    signature.write_text(text)

    with pytest.raises(IntegrityError):
        room.collect([signature])


def test_a_room_is_not_sealed_without_every_signature(room, members):
    room.collect([sign_draft(room.draft_file, members["north"])[0]])

    with pytest.raises(ConfigurationError, match="ana, hub, south"):
        room.seal()
    assert not room.sealed_file.exists()


@pytest.mark.parametrize(("name", "lacking"), [("hub", "coordinator"), ("ana", "analyst"), ("south", "fewer parties")])
def test_a_room_that_can_answer_nothing_is_not_sealed(room, members, name, lacking):
    room.remove(name)
    rest = [m for n, m in members.items() if n != name]
    room.collect([sign_draft(room.draft_file, m)[0] for m in rest])

    with pytest.raises(ConfigurationError, match=lacking):
        room.seal()


def test_any_change_is_a_new_version_without_signatures(room, members):
    first = _sealed(room, members)
    for member in members.values():
        member.install(SignedManifest.load(room.sealed_file))
    room.remove("south")
    draft = room.draft()

    assert draft.manifest.version == first.version + 1
    assert draft.missing() == ("ana", "hub", "north")
    assert SignedManifest.load(room.sealed_file).verify() == first


def test_an_older_version_is_neither_signed_nor_installed(room, members):
    _sealed(room, members)
    old = SignedManifest.load(room.sealed_file)
    north = members["north"]
    north.install(old)
    room.save(room.draft().manifest)
    _sealed(room, members)
    north.install(SignedManifest.load(room.sealed_file))

    with pytest.raises(ConfigurationError, match="older"):
        north.install(old)
    room.draft_file.write_text(SignedManifest(manifest=old.manifest).dumps())
    with pytest.raises(ConfigurationError, match="not newer"):
        sign_draft(room.draft_file, north)


def test_a_manifest_edited_after_sealing_is_not_installed(room, members):
    _sealed(room, members)
    text = room.sealed_file.read_text().replace("north.example", "evil.example")
    room.sealed_file.write_text(text)

    with pytest.raises(IntegrityError):
        members["south"].install(SignedManifest.load(room.sealed_file))
    assert not members["south"].room_file.exists()


def test_changes_name_what_a_signer_must_see(room, members, tmp_path):
    before = room.draft().manifest
    again, _ = enrol(tmp_path / "again", Role.PARTY, "north", endpoint="elsewhere.example:7001")
    room.add([again.enrolment_file], replace=True)
    new, _ = enrol(tmp_path / "west", Role.PARTY, "west", endpoint="west.example:7009")
    room.add([new.enrolment_file])
    room.remove("ana")
    wider = tmp_path / "wider.toml"
    wider.write_text(
        dump_proposal(Dictionary(tables=(_table(("north", "south"), Column(name="amount", type="BIGINT")),)))
    )
    room.set_dictionary([wider])
    text = "\n".join(changes(before, room.draft().manifest))

    for expected in ("west joins as party", "ana leaves", "north has ANOTHER KEY", "north moves", "column amount"):
        assert expected in text
    assert changes(before, before) == ()


def test_removing_a_party_takes_its_rows_out_of_the_dictionary(room):
    room.remove("south")

    assert room.draft().manifest.dictionary.tables[0].parties == ("north",)


def test_a_new_leaf_keeps_the_hosts_and_the_root(members):
    north = members["north"]
    root, old = (north.keys.path / "root.pem").read_bytes(), north.keys.leaf().certificate
    hosts = north.renew(("10.0.0.7",))

    assert hosts == ("north.example", "10.0.0.7")
    assert north.keys.leaf().certificate != old
    assert (north.keys.path / "root.pem").read_bytes() == root


def test_words_are_256_and_differ():
    assert len(set(WORDS)) == 256
    assert len({w[:4] for w in WORDS}) > 200


def test_a_fingerprint_depends_on_key_certificate_role_and_name_but_not_on_the_endpoint(members):
    member = load_enrolment(members["north"].enrolment_file)
    other = load_enrolment(members["south"].enrolment_file)
    base = fingerprint(member)
    replaced = msgspec.structs.replace

    assert fingerprint(replaced(member, endpoint="other.example:1")) == base
    for changed in (
        replaced(member, identity=other.identity),
        replaced(member, certificate=other.certificate),
        replaced(member, role=Role.ANALYST),
        replaced(member, name="n"),
    ):
        assert fingerprint(changed) != base
    assert len(spoken(base).split()) == 12


# ---- dictionaries ------------------------------------------------------------------------------------------------


def test_an_owner_proposes_its_own_tables_and_promises_no_local_keys(tmp_path):
    data = tmp_path / "sales.parquet"
    pq.write_table(pa.table({"customer": ["a", "b"], "amount": [1.5, 2.5]}), data)
    member, _ = enrol(
        tmp_path / "north", Role.PARTY, "north", endpoint="n.example:1", sources={"sales": f"parquet:{data}"}
    )
    found = infer_proposal(MemberFolder.at(member.path))

    assert found.tables[0].parties == ("north",)
    assert found.tables[0].local_keys == ()
    assert {c.name for c in found.tables[0].columns} == {"customer", "amount"}


def test_a_proposal_survives_its_file(tmp_path):
    dictionary = Dictionary(
        tables=(
            _table(
                ("north",),
                Column(name="kind", type="VARCHAR", domain=("a", "b"), nullable=False),
                Column(name="day", type="DATE", earliest="2024-01-01", latest="2024-12-31"),
                Column(name="price", type="DECIMAL(9,2)", scale=2, minimum=0, maximum=9999),
                privacy_unit="kind",
            ),
        )
    )
    path = tmp_path / "p.toml"
    path.write_text(dump_proposal(dictionary))

    assert load_proposal(path) == dictionary


def test_merging_widens_until_every_owners_rows_fit():
    one = _table(
        ("north",),
        Column(name="x", type="INTEGER", nullable=False, minimum=0, maximum=64),
        Column(name="kind", type="VARCHAR", discoverable=True, capacity=16, max_bytes=8),
        Column(name="mine", type="BOOLEAN"),
        rows_at_most=1024,
        local_keys=("x",),
    )
    other = _table(
        ("south",),
        Column(name="x", type="DECIMAL(9,2)", scale=2, minimum=-8, maximum=32),
        Column(name="kind", type="VARCHAR", discoverable=True, capacity=32, max_bytes=24),
        rows_at_most=4096,
    )
    (table,) = merge_proposals([Dictionary(tables=(one,)), Dictionary(tables=(other,))]).tables
    x, kind = table.columns

    assert (x.type, x.scale, x.minimum, x.maximum, x.nullable) == ("DECIMAL(12,2)", 2, -8, 64, True)
    assert (kind.capacity, kind.max_bytes, kind.discoverable) == (64, 24, True)
    assert (table.parties, table.rows_at_most, table.local_keys) == (("north", "south"), 4096, ())


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (_table(("north",)), "speak for the rows of north"),
        (_table(("south",), Column(name="amount", type="DATE")), "amount is INTEGER at one party and DATE"),
        (_table(("south",), Column(name="other", type="DATE")), "share no column"),
        (_table(("south",), Column(name="Amount", type="INTEGER")), "differ only in case"),
        (_table(("south",), privacy_unit="amount"), "privacy units"),
    ],
)
def test_proposals_that_contradict_each_other_are_refused(other, reason):
    with pytest.raises(ConfigurationError, match=reason):
        merge_proposals([Dictionary(tables=(_table(("north",)),)), Dictionary(tables=(other,))])


def test_owners_promise_local_keys_together(room, tmp_path):
    proposal = tmp_path / "p.toml"
    proposal.write_text(dump_proposal(Dictionary(tables=(_table(("north", "south")),))))

    found = room.set_dictionary([proposal], local_keys={"sales": ("amount",)}, privacy_units={"sales": "amount"})
    assert found.tables[0].local_keys == ("amount",)
    with pytest.raises(ConfigurationError, match="no proposal has a table"):
        room.set_dictionary([proposal], local_keys={"other": ("x",)})
    with pytest.raises(ConfigurationError, match="not a column"):
        room.set_dictionary([proposal], local_keys={"sales": ("x",)})
