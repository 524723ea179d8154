"""Identity keys against RFC 8032, and the certificates by which members know each other."""

import copy
import datetime as dt
import itertools
import pickle

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mpc.errors import AuthenticationError, ConfigurationError, IntegrityError, KeyAccessError
from mpc.keys.identity import (
    LEAF_DAYS,
    IdentityKey,
    TlsMaterial,
    issue_leaf,
    new_root,
    spiffe_id,
    verify_leaf,
    verify_signed,
    weak_identity,
)
from mpc.keys.manifest import Endorsement
from mpc.keys.statements import Signed
from mpc.parties import Role

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
NORTH = spiffe_id("party", "north")

# RFC 8032, section 7.1: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f059"
            "5bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4"
            "302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e971"
            "6ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_the_identity_key_is_ed25519_of_rfc_8032(seed, public, message, signature):
    key = IdentityKey(bytes.fromhex(seed))

    assert key.public.hex() == public
    assert key.seed().hex() == seed
    assert key._private.sign(bytes.fromhex(message)).hex() == signature


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_seed_of_another_length_is_never_replaced_by_a_random_key(size):
    with pytest.raises(ValueError, match="32"):
        IdentityKey(bytes(size))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("secret", [IdentityKey(), TlsMaterial(b"c", b"k")], ids=lambda s: type(s).__name__)
def test_identity_keys_and_tls_keys_are_not_pickled_or_copied(secret, take):
    with pytest.raises(KeyAccessError):
        take(secret)


def test_identity_keys_and_tls_keys_show_nothing_secret():
    key = IdentityKey(b"s" * 32)
    material = TlsMaterial(b"certificate", b"private")

    for shown in (repr(key), str(key), repr(material), str(material), f"{[key, material]}"):
        assert b"s".hex() * 4 not in shown
        assert "private" not in shown


def edwards_add(one, other):
    """Addition on edwards25519 (RFC 8032, section 5.1.4) in affine coordinates."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    k = d * one[0] * other[0] * one[1] * other[1]
    x = (one[0] * other[1] + one[1] * other[0]) * pow(1 + k, -1, p) % p
    y = (one[1] * other[1] + one[0] * other[0]) * pow(1 - k, -1, p) % p
    return x, y


def small_order_points():
    """All eight, found by multiplying points of the curve by the prime order of its large subgroup."""
    p, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    d = -121665 * pow(121666, -1, p) % p
    found = set()
    for y in itertools.count(2):
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        x = x if x * x % p == square else x * pow(2, (p - 1) // 4, p) % p
        if x * x % p != square:
            continue
        point, total, n = (x, y), (0, 1), order
        while n:
            total = edwards_add(total, point) if n & 1 else total
            point, n = edwards_add(point, point), n >> 1
        step = total
        for _ in range(8):
            found.add(step)
            step = edwards_add(step, total)
        if len(found) == 8:
            return found
    raise AssertionError


def test_all_points_of_small_order_are_weak_in_every_encoding():
    p = 2**255 - 19
    encodings = set()
    for x, y in small_order_points():
        for value in (y, y + p):
            if value < 1 << 255:
                encodings |= {value | sign << 255 for sign in (0, 1, x & 1)}

    assert all(weak_identity(e.to_bytes(32, "little")) for e in encodings)
    assert len(encodings) == 14


def test_ordinary_keys_are_not_weak():
    assert not any(weak_identity(IdentityKey().public) for _ in range(50))


def test_a_weak_key_would_sign_everything():
    """Why they are refused: under the neutral element, R = B and s = 1 is a signature of every message."""
    base = (4 * pow(5, -1, 2**255 - 19) % (2**255 - 19)).to_bytes(32, "little")
    forged = Signed(b"\xc1", "north", base + (1).to_bytes(32, "little"))
    with pytest.raises(Exception) as caught:
        verify_signed(forged, Endorsement, (1).to_bytes(32, "little"))

    assert not isinstance(caught.value, IntegrityError), "the signature itself holds"


# ---- certificates ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root():
    return new_root(Role.PARTY, "north", now=NOW)


def check(leaf, root, expected=NORTH, now=NOW):
    return verify_leaf(leaf.certificate, root.certificate, expected, now=now)


def test_a_members_own_leaf_is_accepted_and_says_when_it_ends(root):
    leaf = issue_leaf(root, Role.PARTY, "north", ("localhost", "127.0.0.1"), now=NOW)

    assert check(leaf, root) == NOW - dt.timedelta(minutes=5) + dt.timedelta(days=LEAF_DAYS)


def test_another_members_root_with_all_the_right_names_is_refused(root):
    twin = new_root(Role.PARTY, "north", now=NOW)
    leaf = issue_leaf(twin, Role.PARTY, "north", (), now=NOW)

    check(leaf, twin)
    with pytest.raises(AuthenticationError):
        check(leaf, root)


@pytest.mark.parametrize(
    ("role", "name"), [("party", "south"), ("coordinator", "north"), ("analyst", "north"), ("party", "northern")]
)
def test_another_name_or_role_is_refused(root, role, name):
    leaf = issue_leaf(root, role, name, (), now=NOW)
    with pytest.raises(AuthenticationError):
        check(leaf, root)


def custom_leaf(root, uris, *, hosts=("localhost",), issuer=None):
    """A leaf with any URIs, signed by the root's key."""
    certificate = x509.load_pem_x509_certificate(root.certificate)
    signer = serialization.load_pem_private_key(root.key, None)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer or certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    if uris is not None:
        names = [x509.UniformResourceIdentifier(u) for u in uris] + [x509.DNSName(h) for h in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(signer, hashes.SHA256())
    return TlsMaterial(signed.public_bytes(serialization.Encoding.PEM), b"")


SOUTH = spiffe_id("party", "south")


@pytest.mark.parametrize(
    "uris",
    [None, [], [NORTH, NORTH], [NORTH, SOUTH], [SOUTH, NORTH], [NORTH + "/"], [NORTH + "x"], [NORTH.upper()],
     [NORTH.replace("sealroom", "other")]],
)  # fmt: skip
def test_no_name_two_names_and_nearly_the_name_are_refused(root, uris):
    check(custom_leaf(root, [NORTH]), root)
    with pytest.raises(AuthenticationError):
        check(custom_leaf(root, uris), root)


def test_the_common_name_counts_for_nothing(root):
    with pytest.raises(AuthenticationError):
        check(root, root)


@pytest.mark.parametrize("days", [-1, LEAF_DAYS + 1, 4000])
def test_a_leaf_that_is_not_valid_now_is_refused(root, days):
    leaf = issue_leaf(root, Role.PARTY, "north", (), now=NOW)
    with pytest.raises(AuthenticationError):
        check(leaf, root, now=NOW + dt.timedelta(days=days))


def test_validity_ends_to_the_second(root):
    leaf = issue_leaf(root, Role.PARTY, "north", (), now=NOW)
    ends = check(leaf, root)

    assert check(leaf, root, now=ends) == ends
    with pytest.raises(AuthenticationError):
        check(leaf, root, now=ends + dt.timedelta(seconds=1))


def test_a_leaf_that_names_the_right_issuer_but_was_signed_by_another_key_is_refused(root):
    subject = x509.load_pem_x509_certificate(root.certificate).subject
    forger = new_root(Role.PARTY, "elsewhere", now=NOW)
    with pytest.raises(AuthenticationError):
        check(custom_leaf(forger, [NORTH], issuer=subject), root)


def test_a_leaf_does_not_issue_leaves(root):
    first = issue_leaf(root, Role.PARTY, "north", (), now=NOW)
    second = issue_leaf(first, Role.PARTY, "north", (), now=NOW)
    with pytest.raises(AuthenticationError):
        check(second, root)


@pytest.mark.parametrize("pem", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(root, pem):
    good = issue_leaf(root, Role.PARTY, "north", (), now=NOW)
    for leaf, anchor in ((pem, root.certificate), (good.certificate, pem)):
        with pytest.raises(AuthenticationError):
            verify_leaf(leaf, anchor, NORTH, now=NOW)


def test_addresses_and_names_of_hosts_stand_where_a_dialler_looks_for_them(root):
    leaf = issue_leaf(root, Role.PARTY, "north", ("db.example", "10.1.2.3", "[::1]", "fe80::2"), now=NOW)
    names = x509.load_pem_x509_certificate(leaf.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )

    assert names.value.get_values_for_type(x509.DNSName) == ["db.example"]
    assert [str(a) for a in names.value.get_values_for_type(x509.IPAddress)] == ["10.1.2.3", "::1", "fe80::2"]


def test_a_host_name_in_another_script_is_a_configuration_error(root):
    with pytest.raises(ConfigurationError):
        issue_leaf(root, Role.PARTY, "north", ("bücher.example",), now=NOW)


def test_a_root_issues_leaves_and_nothing_below_them(root):
    certificate = x509.load_pem_x509_certificate(root.certificate)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    leaf = x509.load_pem_x509_certificate(issue_leaf(root, Role.PARTY, "north", (), now=NOW).certificate)

    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("role", ["root", "", "PARTY"])
def test_there_is_no_name_for_a_role_that_is_none(role):
    with pytest.raises(ValueError, match="Role"):
        spiffe_id(role, "north")
