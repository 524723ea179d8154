"""Key files: made closed, never overwritten, and refused when they are not what they should be."""

import os
import stat

import pytest
from cryptography import x509

from mpc.errors import ConfigurationError
from mpc.keys.files import KeyFolder, write_secret
from mpc.keys.identity import spiffe_id, verify_leaf
from mpc.parties import Role
from mpc.runtime.tls import CurrentLeaf

SECRET_FILES = {"identity.key", "root.key", "tls.key"}


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path, open_umask):
    KeyFolder.create(tmp_path / "north", Role.PARTY, "north", "node.example:7001", ("10.0.0.1",))
    return KeyFolder(tmp_path / "north")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_secret_files_are_the_owners_alone_whatever_the_umask(folder):
    for name in (*SECRET_FILES, "tls.pem"):
        assert mode(folder.path / name) == 0o600, name
    assert mode(folder.path) == 0o700


def test_a_renewed_leaf_is_as_closed_as_the_first(folder):
    folder.renew(Role.PARTY, "north", ())

    assert {p.name for p in folder.path.iterdir()} == {*SECRET_FILES, "root.pem", "tls.pem"}
    assert mode(folder.path / "tls.key") == 0o600


def test_nothing_is_ever_overwritten(folder):
    before = {p.name: p.read_bytes() for p in folder.path.iterdir()}
    with pytest.raises(ConfigurationError):
        KeyFolder.create(folder.path, Role.PARTY, "north")
    assert {p.name: p.read_bytes() for p in folder.path.iterdir()} == before


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "identity.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        write_secret(tmp_path / "identity.key", b"secret")
    assert not (tmp_path / "elsewhere").exists()


def test_the_room_learns_only_what_is_public(folder):
    member = folder.member(Role.PARTY, "north", "node.example:7001")
    text = repr(member)

    member.check()
    assert member.public_key == folder.identity().public
    assert folder.identity().seed().hex() not in text
    assert "PRIVATE" not in text


def test_a_folder_gives_the_same_member_as_its_creation(tmp_path):
    made = KeyFolder.create(tmp_path / "hub", Role.COORDINATOR, "hub", "localhost:1")

    assert KeyFolder.at(tmp_path / "hub").member(Role.COORDINATOR, "hub", "localhost:1") == made


def test_the_leaf_names_the_endpoint_and_is_issued_by_the_members_root(folder):
    leaf = x509.load_pem_x509_certificate(folder.leaf().certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    root = (folder.path / "root.pem").read_bytes()

    assert names.get_values_for_type(x509.DNSName) == ["node.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    verify_leaf(folder.leaf().certificate, root, spiffe_id("party", "north"))


def test_a_renewed_leaf_has_a_fresh_key(folder):
    before = folder.leaf()
    folder.renew(Role.PARTY, "north", ())
    after = folder.leaf()

    assert before.key != after.key
    assert before.certificate != after.certificate


@pytest.mark.parametrize("content", [b"", b"\n", b"abcd", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64])
def test_a_damaged_identity_file_is_an_error_and_never_another_key(folder, content):
    (folder.path / "identity.key").write_bytes(content)
    with pytest.raises(ConfigurationError):
        folder.identity()


@pytest.mark.parametrize("name", ["identity.key", "root.pem", "root.key", "tls.pem", "tls.key"])
def test_a_missing_file_is_named(folder, name):
    (folder.path / name).unlink()

    def read_all():
        folder.leaf()
        folder.member(Role.PARTY, "north")
        folder.renew(Role.PARTY, "north", ())

    with pytest.raises(ConfigurationError) as caught:
        read_all()
    assert name in str(caught.value)
    assert str(folder.path) not in str(caught.value)


def test_a_folder_without_keys_is_refused(tmp_path):
    with pytest.raises(ConfigurationError):
        KeyFolder.at(tmp_path)


def test_a_bad_name_makes_no_folder(tmp_path):
    with pytest.raises(Exception, match="member name"):
        KeyFolder.create(tmp_path / "x", Role.PARTY, "../x")
    assert not (tmp_path / "x").exists()


def test_a_running_node_takes_up_a_renewed_leaf_and_keeps_the_old_one_while_files_do_not_match(folder):
    current = CurrentLeaf(folder)
    first = current()
    other = folder.path.parent / "other"
    KeyFolder.create(other, Role.PARTY, "north")
    swapped = (folder.path / "tls.key").read_bytes()
    (folder.path / "tls.key").write_bytes((other / "tls.key").read_bytes())

    assert current() == first, "key and certificate do not belong together"
    (folder.path / "tls.key").write_bytes(swapped)
    folder.renew(Role.PARTY, "north", ())
    assert current() == folder.leaf() != first


def test_a_node_does_not_start_with_a_key_of_another_certificate(folder, tmp_path):
    KeyFolder.create(tmp_path / "other", Role.PARTY, "north")
    (folder.path / "tls.key").write_bytes((tmp_path / "other" / "tls.key").read_bytes())
    with pytest.raises(ConfigurationError):
        CurrentLeaf(folder)
