"""The manifest: any change is another room and voids every signature; nobody enrols anybody alone."""

import functools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ConfigurationError, IntegrityError, WireError
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.keys.identity import IdentityKey, new_root
from mpc.keys.manifest import Endorsement, Floor, Manifest, Member, SignedManifest, endorsed
from mpc.parties import Role

ROLES = {"north": Role.PARTY, "south": Role.PARTY, "hub": Role.COORDINATOR, "ana": Role.ANALYST, "eve": Role.AUDITOR}


@functools.cache
def key(name):
    return IdentityKey(name.encode().ljust(32, b"."))


@functools.cache
def root(name):
    return new_root(Role.PARTY, name).certificate.decode()


def member(name, role, **changes):
    endpoint = "localhost:7001" if role in {Role.PARTY, Role.COORDINATOR} else ""
    fields = {
        "name": name, "role": role, "endpoint": endpoint, "identity": key(name).public.hex(), "certificate": root(name)
    }  # fmt: skip
    return Member(**(fields | changes))


SALES = Table(
    name="sales",
    columns=(
        Column(name="region", type="VARCHAR", domain=("a", "b"), discoverable=False),
        Column(name="qty", type="BIGINT", minimum=-5, maximum=1 << 47, nullable=False),
        Column(name="day", type="DATE", earliest="2026-01-01", latest="2026-12-31"),
        Column(name="price", type="DECIMAL(18,2)", scale=2, minimum=0, maximum=10**6),
    ),
    parties=("north", "south"),
    privacy_unit="region",
    local_keys=("qty",),
)


def manifest(**changes):
    members = tuple(member(n, r) for n, r in ROLES.items())
    fields = {"name": "retail", "version": 3, "members": members, "dictionary": Dictionary(tables=(SALES,))}
    return Manifest(**(fields | changes))


def signed(found=None):
    found = found or manifest()
    return endorsed(found, [(m.name, key(m.name)) for m in found.members])


def replace_member(index, **changes):
    def change(m):
        members = list(m.members)
        members[index] = msgspec.structs.replace(members[index], **changes)
        return msgspec.structs.replace(m, members=tuple(members))

    return change


def replace_table(**changes):
    return lambda m: msgspec.structs.replace(
        m, dictionary=Dictionary(tables=(msgspec.structs.replace(SALES, **changes),))
    )


def replace_column(index, **changes):
    columns = list(SALES.columns)
    columns[index] = msgspec.structs.replace(columns[index], **changes)
    return replace_table(columns=tuple(columns))


CHANGES = {
    "name": lambda m: msgspec.structs.replace(m, name="other"),
    "version": lambda m: msgspec.structs.replace(m, version=4),
    "a member less": lambda m: msgspec.structs.replace(m, members=m.members[:-1]),
    "a member more": lambda m: msgspec.structs.replace(m, members=(*m.members, member("west", Role.PARTY))),
    "order of members": lambda m: msgspec.structs.replace(m, members=m.members[::-1]),
    "member name": replace_member(4, name="mallory"),
    "member role": replace_member(4, role=Role.ANALYST),
    "member endpoint": replace_member(0, endpoint="localhost:7002"),
    "member identity": replace_member(0, identity=IdentityKey(b"x" * 32).public.hex()),
    "member certificate": replace_member(0, certificate=root("another")),
    "floor parties": lambda m: msgspec.structs.replace(m, floor=Floor(minimum_parties=3)),
    "floor lifetime": lambda m: msgspec.structs.replace(m, floor=Floor(job_lifetime_s=60)),
    "no tables": lambda m: msgspec.structs.replace(m, dictionary=Dictionary()),
    "table name": replace_table(name="sale"),
    "table parties": replace_table(parties=("north",)),
    "table rows": replace_table(rows_at_most=7),
    "privacy unit": replace_table(privacy_unit="qty"),
    "no privacy unit": replace_table(privacy_unit=None),
    "local keys": replace_table(local_keys=()),
    "order of columns": replace_table(columns=SALES.columns[::-1]),
    "column name": replace_column(1, name="qtY"),
    "column type": replace_column(1, type="INTEGER"),
    "nullable": replace_column(1, nullable=True),
    "minimum": replace_column(1, minimum=-6),
    "maximum": replace_column(1, maximum=(1 << 47) - 1),
    "scale": replace_column(3, type="DECIMAL(18,3)", scale=3),
    "domain": replace_column(0, domain=("a", "c")),
    "order of the domain": replace_column(0, domain=("b", "a")),
    "no domain": replace_column(0, domain=None),
    "discoverable": replace_column(0, discoverable=True),
    "capacity": replace_column(0, capacity=1),
    "max_bytes": replace_column(0, max_bytes=1),
    "earliest": replace_column(2, earliest="2026-01-02"),
    "latest": replace_column(2, latest="2027-01-01"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_single_change_is_another_room_and_voids_the_signatures(what):
    original = signed()
    changed = CHANGES[what](original.manifest)
    changed.check()
    stale = SignedManifest(manifest=changed, signatures=original.signatures)

    assert changed.room != original.manifest.room
    with pytest.raises(IntegrityError):
        stale.verify()


def test_the_changes_leave_no_field_out():
    """Every field of every struct in a manifest is changed by some case above."""
    original = manifest()
    touched = set()
    for change in CHANGES.values():
        touched |= set(differing(msgspec.to_builtins(original), msgspec.to_builtins(change(original))))
    fields = {f for kind in (Manifest, Member, Floor, Dictionary, Table, Column) for f in kind.__struct_fields__}

    assert fields - touched == set()


def differing(one, other, name=""):
    if one == other:
        return
    if name:
        yield name
    if isinstance(one, dict) and isinstance(other, dict):
        for k in one.keys() | other.keys():
            yield from differing(one.get(k), other.get(k), k)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for a, b in zip(one, other, strict=False):
            yield from differing(a, b)


def test_a_manifest_that_every_member_signed_verifies():
    assert signed().verify() == manifest()


def test_the_room_is_a_digest_that_does_not_depend_on_the_process():
    certificates = {m.name: "c" for m in manifest().members}
    frozen = Manifest(
        name="retail",
        members=tuple(
            Member(name=n, role=r, identity=key(n).public.hex(), certificate=certificates[n]) for n, r in ROLES.items()
        ),
    )

    assert frozen.room == "2fcddaa200b312bbfd5703d8315ab6ad95c9dee69fb98f1fc2fddf819e82e125"


@pytest.mark.parametrize("name", ROLES)
def test_one_missing_signature_is_enough_to_refuse(name):
    full = signed()
    partial = {k: v for k, v in full.signatures.items() if k != name}
    lacking = SignedManifest(manifest=full.manifest, signatures=partial)

    assert lacking.missing() == (name,)
    with pytest.raises(IntegrityError) as caught:
        lacking.verify()
    assert caught.value.fields == {"member": name}


def test_a_signature_does_not_stand_in_for_another():
    full = signed()
    for taken in ("south", "hub", "stranger"):
        signatures = dict(full.signatures) | {"stranger": key("stranger")._private.sign(b"")}
        signatures["north"] = signatures[taken]
        with pytest.raises(IntegrityError):
            SignedManifest(manifest=full.manifest, signatures=signatures).verify()


def test_the_right_key_over_another_members_name_does_not_count():
    full = signed()
    statement = Endorsement(room=full.manifest.room, member="south")
    signatures = dict(full.signatures) | {"north": key("north").sign(statement, "north").signature}
    with pytest.raises(IntegrityError):
        SignedManifest(manifest=full.manifest, signatures=signatures).verify()


def test_a_strangers_signature_counts_for_nothing():
    full = signed()
    more = SignedManifest(manifest=full.manifest, signatures=dict(full.signatures) | {"stranger": bytes(64)})

    assert more.verify() == full.manifest


def test_signatures_of_another_length_are_refused():
    full = signed()
    with pytest.raises(WireError):
        SignedManifest(manifest=full.manifest, signatures=dict(full.signatures) | {"north": bytes(63)}).verify()


def test_nobody_endorses_for_another_or_as_a_stranger():
    unsigned = SignedManifest(manifest=manifest())
    with pytest.raises(ConfigurationError):
        unsigned.endorse("north", key("south"))
    with pytest.raises(ConfigurationError):
        unsigned.endorse("stranger", key("stranger"))


def test_endorsing_leaves_the_original_unsigned():
    unsigned = SignedManifest(manifest=manifest())
    unsigned.endorse("north", key("north"))

    assert unsigned.missing() == tuple(ROLES)


# ---- contradictions --------------------------------------------------------------------------------------------

BAD = {
    "a name twice": lambda m: msgspec.structs.replace(m, members=(*m.members, m.members[0])),
    "a key twice": replace_member(1, identity=key("north").public.hex()),
    "a certificate twice": replace_member(1, certificate=root("north") + "\n"),
    "two coordinators": replace_member(3, role=Role.COORDINATOR, endpoint="h:1"),
    "a bad room name": lambda m: msgspec.structs.replace(m, name="Re tail"),
    "a bad member name": replace_member(0, name="../north"),
    "a key with spaces": replace_member(0, identity=" " + key("north").public.hex()),
    "a key in capitals": replace_member(0, identity=key("north").public.hex().upper()),
    "a short key": replace_member(0, identity="ab" * 31),
    "no hexadecimal": replace_member(0, identity="zz" * 32),
    "a weak key": replace_member(0, identity=(1).to_bytes(32, "little").hex()),
    "another weak key": replace_member(0, identity="00" * 31 + "80"),
    "no certificate": replace_member(0, certificate="-----BEGIN CERTIFICATE-----\n"),
    "an empty certificate": replace_member(0, certificate=""),
    "two certificates": replace_member(0, certificate=root("north") + root("another")),
    "a private key for a certificate": replace_member(0, certificate=new_root(Role.PARTY, "x").key.decode()),
    "no port": replace_member(0, endpoint="localhost"),
    "an empty host": replace_member(0, endpoint=":7001"),
    "port zero": replace_member(0, endpoint="localhost:0"),
    "port too large": replace_member(0, endpoint="localhost:65536"),
    "a port in other digits": replace_member(0, endpoint="localhost:²"),
    "a port in arabic digits": replace_member(0, endpoint="localhost:٣"),
    "a negative port": replace_member(0, endpoint="localhost:-1"),
    "a party without an endpoint": replace_member(0, endpoint=""),
    "a coordinator without an endpoint": replace_member(2, endpoint=""),
    "version zero": lambda m: msgspec.structs.replace(m, version=0),
    "one party is enough": lambda m: msgspec.structs.replace(m, floor=Floor(minimum_parties=1)),
    "no lifetime": lambda m: msgspec.structs.replace(m, floor=Floor(job_lifetime_s=0)),
    "a stranger's table": replace_table(parties=("north", "west")),
    "an analyst's table": replace_table(parties=("north", "ana")),
    "a bad column": replace_column(0, name="1"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_manifest_that_contradicts_itself_is_a_configuration_error(what):
    with pytest.raises(ConfigurationError):
        BAD[what](manifest()).check()


@pytest.mark.parametrize("what", BAD)
def test_and_no_set_of_signatures_makes_it_verify(what):
    bad = BAD[what](manifest())
    with pytest.raises(ConfigurationError):
        SignedManifest(manifest=bad, signatures=signed().signatures).verify()


def test_addresses_in_brackets_are_endpoints():
    replace_member(0, endpoint="[::1]:7001")(manifest()).check()


# ---- text ------------------------------------------------------------------------------------------------------


def test_a_manifest_survives_its_file(tmp_path):
    full = signed()
    path = tmp_path / "room.toml"
    path.write_text(full.dumps(), encoding="utf-8")
    again = SignedManifest.load(path)

    assert again.verify() == full.manifest
    assert again.manifest.room == full.manifest.room
    assert again.dumps() == full.dumps()


identifiers = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@st.composite
def columns(draw):
    low, high = sorted(draw(st.tuples(st.integers(-(1 << 200), 1 << 200), st.integers(-(1 << 200), 1 << 200))))
    ranged = draw(st.booleans())
    kind = draw(st.sampled_from(["BOOLEAN", "BIGINT", "DECIMAL(20,4)", "DOUBLE", "VARCHAR", "TIMESTAMP"]))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    domains = {"BOOLEAN": st.booleans(), "BIGINT": st.integers(), "VARCHAR": text}
    return Column(
        name=draw(identifiers),
        type=kind,
        nullable=draw(st.booleans()),
        scale=4 if kind.startswith("DECIMAL") else draw(st.integers(0, 18)),
        minimum=low if ranged else None,
        maximum=high if ranged else None,
        domain=draw(st.none() | st.lists(domains[kind], max_size=3, unique=True).map(tuple))
        if kind in domains
        else None,
        discoverable=draw(st.booleans()),
        capacity=draw(st.integers(1, 1 << 24)),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(columns(), min_size=1, max_size=4, unique_by=lambda c: c.name.lower()), st.integers(1, 1 << 40))
def test_any_dictionary_survives_the_file_with_the_same_room(found, rows):
    table = Table(name="t", columns=tuple(found), parties=("south", "north"), rows_at_most=rows)
    made = manifest(dictionary=Dictionary(tables=(table,)))
    made.check()
    again = SignedManifest.loads(SignedManifest(manifest=made).dumps())

    assert again.manifest == made
    assert again.manifest.room == made.room


@pytest.mark.parametrize(
    "text",
    ["", "name = ", "name = 'x'\n", "signatures = 3", "[signatures]\nnorth = 'zz'", "[signatures]\nnorth = 3",
     "a = " + "[" * 5000, "name = 'x'\nmembers = []\nunknown = 1", "\x00"],
)  # fmt: skip
def test_a_text_that_is_no_manifest_is_a_configuration_error(text):
    with pytest.raises(ConfigurationError):
        SignedManifest.loads(text)


def test_a_file_that_is_missing_or_no_text_is_a_configuration_error(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff\xfe'")
    for name in ("none.toml", "bytes.toml", "."):
        with pytest.raises(ConfigurationError):
            SignedManifest.load(tmp_path / name)


def test_unknown_keys_are_refused_at_every_depth():
    body = manifest().to_mapping()
    places = [body, body["members"][0], body["floor"], body["dictionary"], body["dictionary"]["tables"][0],
              body["dictionary"]["tables"][0]["columns"][0]]  # fmt: skip
    for place in places:
        place["surprise"] = 1
        with pytest.raises(ConfigurationError):
            Manifest.from_mapping(body)
        del place["surprise"]
    assert Manifest.from_mapping(body) == manifest()


def test_members_are_found_by_name_and_role():
    found = manifest()

    assert found.parties == ("north", "south")
    assert found.coordinator.name == "hub"
    assert found.member("ana").role is Role.ANALYST
    assert found.member("nobody") is None
    with pytest.raises(ConfigurationError):
        _ = Manifest(name="x", members=()).coordinator
