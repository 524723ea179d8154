"""Frozen answers of the sum's derivations, made by a reference that shares no code with the product, and bad ones."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc import errors
from mpc.entropy import FixedEntropy
from mpc.keys.manifest import Manifest
from mpc.keys.public import public_key_digest
from mpc.keys.secret import MaskKey
from mpc.packing.layout import VectorLayout
from mpc.packing.limbs import to_limbs
from mpc.packing.segments import ArrayValues, Segment
from mpc.params import PARAMETER_SETS, parameter_set
from mpc.parties import PartyId
from mpc.schemes import public, secret
from mpc.sum.aggregator import Aggregator
from mpc.sum.contributor import Contributor, position_tags
from mpc.sum.masks import PairwiseMasks, pair_info
from mpc.sum.messages import Receipt, ciphertext_digest, ciphertext_list_digest
from mpc.sum.opener import Opener
from mpc.sum.spec import Recipient, SumHeader
from mpc.sum.transcript import RoundContext, transcript
from mpc.wire.job import request_digest
from tests.vectors import sum_reference as reference

HERE = Path(__file__).parent
FILES = {name: json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) for name in reference.FILES}
TRANSCRIPTS = FILES["sum_transcripts"]["cases"]


def segments_of(found):
    return tuple(Segment(*s) for s in found)


def test_the_reference_gives_the_frozen_answers():
    made = json.loads(json.dumps(reference.documents(FILES["sum_transcripts"]["parameter_digests"])))

    assert made == FILES


def test_there_are_enough_of_them():
    digests = FILES["sum_digests"]

    assert len(TRANSCRIPTS) + len(FILES["sum_masks"]["cases"]) + len(FILES["sum_layouts"]["cases"]) >= 40
    assert sum(map(len, digests.values())) >= 10


def test_parameter_sets_keep_their_digests():
    """A changed digest is another set: it needs another name and number."""
    frozen = FILES["sum_transcripts"]["parameter_digests"]

    assert {name: PARAMETER_SETS[name].digest().hex() for name in frozen} == frozen


def transcript_of(case):
    room, job, attempt, number, request = case["context"]
    label, recipient, segments, context = case["header"]
    keys = {PartyId(p): bytes.fromhex(k) for p, k in case["mask_keys"].items()}
    layout = VectorLayout.compile(segments_of(segments), parameter_set(case["parameter_set"]), len(keys))
    bound = transcript(
        RoundContext(room=room, job=job, attempt=attempt, round=number, request_digest=bytes.fromhex(request)),
        header=SumHeader(label, Recipient(recipient), segments_of(segments), bytes.fromhex(context)),
        layout=layout,
        mask_keys=keys,
        recipient_key_digest=bytes.fromhex(case["recipient_key_digest"]),
    )
    return bound, layout


@pytest.mark.parametrize("case", TRANSCRIPTS, ids=lambda c: c["comment"])
def test_transcripts_pair_labels_and_position_tags(case):
    bound, layout = transcript_of(case)
    tags = position_tags(bound, case["tags_from"], len(case["tags"]), layout.width_bits)

    assert bound.hex() == case["transcript"]
    assert pair_info(*case["pair"]).hex() == case["pair_info"] == pair_info(*case["pair"][::-1]).hex()
    assert tags.tolist() == case["tags"]
    if "pair_key" in case:
        key = MaskKey()
        key._private = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["private_key"]))
        peer = bytes.fromhex(case["mask_keys"][case["pair"][1]])
        assert key.pair_key(peer, transcript=bound, info=pair_info(*case["pair"])).hex() == case["pair_key"]


def test_all_frozen_transcripts_differ():
    assert len({c["transcript"] for c in TRANSCRIPTS}) == len(TRANSCRIPTS)


@pytest.mark.parametrize(
    "case", FILES["sum_masks"]["cases"], ids=lambda c: f"{c['me']}-{c['width']}x{c['limbs']}"
)  # fmt: skip
def test_masks(case):
    masks = PairwiseMasks.derive(case["me"], {p: bytes.fromhex(k) for p, k in case["pair_keys"].items()})
    limbs = to_limbs(np.array(case["values"], dtype=object), case["width"], case["limbs"])
    checks = np.array([[1, 0], [1, 0]], dtype=np.uint64)

    assert masks.mask_values(limbs, case["first_slot"], case["width"]).reshape(-1).tolist() == case["masked"]
    assert masks.mask_checks(checks, case["first_ciphertext"], case["width"]).reshape(-1).tolist() == case["checks"]


@pytest.mark.parametrize(
    "case", FILES["sum_layouts"]["cases"], ids=lambda c: f"{c['parameter_set']}-{c['participants']}"
)
def test_layouts(case):
    layout = VectorLayout.compile(
        segments_of(case["segments"]), parameter_set(case["parameter_set"]), case["participants"]
    )

    assert layout.width_bits == case["width"]
    assert [[s.limbs, s.first_slot] for s in layout.segments] == case["segments_placed"]
    assert (layout.payload_slots, layout.ciphertexts) == (case["payload_slots"], case["ciphertexts"])


def test_digests_of_lists_rooms_requests_and_keys():
    found = FILES["sum_digests"]

    for case in found["ciphertext_lists"]:
        assert ciphertext_list_digest([bytes.fromhex(d) for d in case["digests"]]).hex() == case["list_digest"]
    for case in found["requests"]:
        assert request_digest(bytes.fromhex(case["payload"])).hex() == case["digest"]
    for case in found["public_keys"]:
        assert public_key_digest(case["parameter_set"], bytes.fromhex(case["data"])).hex() == case["digest"]


def test_digests_of_rooms():
    for case in FILES["sum_digests"]["rooms"]:
        assert msgspec.convert(case["manifest"], Manifest).room == case["room"]


# ---- a whole round, frozen -------------------------------------------------------------------------------------

NAMES = ("north", "south", "west")
CLEAR = parameter_set("insecure-clear-4096-t62")
SEGMENTS = (Segment("n", 3, 10), Segment("wide", 4100, 1 << 70))
VALUES = {
    name: {
        "n": np.array([i, -i, 10]),
        "wide": np.array([(i + 1) * (-1) ** j * (1 << 68) + j for j in range(4100)], dtype=object),
    }
    for i, name in enumerate(NAMES)
}
CONTEXT = RoundContext(room="r" * 64, job="0" * 32, attempt=1, round=1, request_digest=bytes(32))
CONTRIBUTIONS = {
    "north": "d060b55d5b0653f505d132003e745f7c29022d39f7bd7a2a68dc05c2f20300ee",
    "south": "6ed6171a289289d665cdd776c96da59c87de30b12dc3cbe4b468e445965c7711",
    "west": "d2a9827b2d8c434c1a647fad8bb83afc5fc360095ed1bbfbee27a7c02f1d21fa",
}
"""SHA-256 over each party's ciphertexts of the plaintext scheme: values, masks, check slots and layout at once."""


def frozen_round(*, participants=NAMES, context=CONTEXT):
    """Layout, transcript, key pair, and every party's role, from fixed mask keys."""
    layout = VectorLayout.compile(SEGMENTS, CLEAR, len(participants))
    public_key, secret_key = secret.generate(CLEAR, FixedEntropy(b"sum vectors"))
    keys = {}
    for name in participants:
        keys[name] = MaskKey()
        keys[name]._private = X25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        keys[name].public = keys[name]._private.public_key().public_bytes_raw()
    bound = transcript(
        context,
        header=SumHeader("frozen", Recipient.ANALYST, SEGMENTS),
        layout=layout,
        mask_keys={PartyId(n): k.public for n, k in keys.items()},
        recipient_key_digest=public_key.digest,
    )
    roles = {}
    for name in participants:
        pairs = {
            peer: keys[name].pair_key(keys[peer].public, transcript=bound, info=pair_info(name, peer))
            for peer in participants
            if peer != name
        }
        roles[name] = Contributor(
            layout=layout,
            values={k: ArrayValues(v) for k, v in VALUES[name].items()},
            masks=PairwiseMasks.derive(name, pairs),
            encryptor=public.encryptor(public_key),
            transcript=bound,
            first=name == min(participants),
        )
    return layout, bound, secret_key, {n: [c for batch in r.batches() for c in batch] for n, r in roles.items()}


def add(layout, contributions, participants=NAMES):
    aggregator = Aggregator(adder=public.adder(CLEAR), participants=participants, ciphertexts=layout.ciphertexts)
    return aggregator, aggregator.add(contributions)


def opened(layout, bound, key, summed):
    opener = Opener(layout, secret.decryptor(key), bound)
    opener.take(summed)
    return opener.totals()


def test_a_round_sends_the_frozen_bytes_and_opens_to_the_total():
    layout, bound, key, contributions = frozen_round()
    found = {n: hashlib.sha256(b"".join(c)).hexdigest() for n, c in contributions.items()}
    totals = opened(layout, bound, key, add(layout, contributions)[1])

    assert found == CONTRIBUTIONS
    assert totals["n"].tolist() == [3, -3, 30]
    assert totals["wide"].tolist() == [6 * (-1) ** j * (1 << 68) + 3 * j for j in range(4100)]


def receipt(layout, contribution, **changes):
    digests = [ciphertext_digest(c) for c in contribution]
    fields = {
        "room": "r", "job": "j", "attempt": 1, "round": 1, "party": "p", "request_digest": b"",
        "ciphertexts": layout.ciphertexts, "list_digest": ciphertext_list_digest(digests),
    }  # fmt: skip
    return Receipt(**(fields | changes))


def bad_set(round_):
    layout, _, _, contributions = round_
    del contributions["west"]
    add(layout, contributions)


def bad_count(round_):
    layout, bound, key, contributions = round_
    summed = add(layout, contributions)[1]
    word = bytearray(summed[0])
    word[16] ^= 1
    opened(layout, bound, key, [bytes(word), *summed[1:]])


def bad_reserved_slot(round_):
    layout, bound, key, contributions = round_
    summed = add(layout, contributions)[1]
    word = bytearray(summed[0])
    word[24] ^= 1
    opened(layout, bound, key, [bytes(word), *summed[1:]])


def bad_transcript(round_):
    layout, bound, key, contributions = round_
    opened(layout, hashlib.sha256(bound).digest(), key, add(layout, contributions)[1])


def bad_order(round_):
    layout, bound, key, contributions = round_
    summed = add(layout, contributions)[1]
    opened(layout, bound, key, [summed[1], summed[0], *summed[2:]])


def bad_length(round_):
    layout, bound, key, contributions = round_
    opened(layout, bound, key, add(layout, contributions)[1][:-1])


def bad_extra(round_):
    layout, bound, key, contributions = round_
    summed = add(layout, contributions)[1]
    opened(layout, bound, key, [*summed, summed[0]])


def bad_repeat(round_):
    layout, bound, key, contributions = round_
    opened(layout, bound, key, add(layout, contributions | {"west": contributions["south"]})[1])


def bad_other_round(round_):
    layout, bound, key, contributions = round_
    other = frozen_round(
        context=RoundContext(room="r" * 64, job="0" * 32, attempt=1, round=2, request_digest=bytes(32))
    )
    opened(layout, bound, key, add(layout, contributions | {"west": other[3]["west"]})[1])


def bad_receipt(round_):
    layout, _, _, contributions = round_
    aggregator, _ = add(layout, contributions)
    receipts = {n: receipt(layout, c) for n, c in contributions.items()}
    aggregator.check(receipts)
    receipts["south"] = receipt(layout, contributions["south"][::-1])
    aggregator.check(receipts)


def bad_receipt_count(round_):
    layout, _, _, contributions = round_
    aggregator, _ = add(layout, contributions)
    receipts = {n: receipt(layout, c) for n, c in contributions.items()}
    aggregator.check(receipts | {"south": receipt(layout, contributions["south"], ciphertexts=1)})


def bad_second_opening(round_):
    layout, bound, key, contributions = round_
    summed = add(layout, contributions)[1]
    opened(layout, bound, key, summed)
    opened(layout, bound, key, summed)


def bad_set_of_keys(round_):
    layout = replace(round_[0], participants=4)
    transcript(
        CONTEXT,
        header=SumHeader("frozen", Recipient.ANALYST, SEGMENTS),
        layout=layout,
        mask_keys={PartyId(n): bytes(32) for n in NAMES},
        recipient_key_digest=b"",
    )


def bad_parameters(round_):
    layout, bound, key, _ = round_
    Opener(replace(layout, parameters=parameter_set("bfv-4096-t40")), secret.decryptor(key), bound)


def bad_short_ciphertext(round_):
    layout, _, _, contributions = round_
    add(layout, contributions | {"west": [c[:-8] for c in contributions["west"]]})


def bad_alone(round_):
    PairwiseMasks.derive("north", {})


def bad_own_peer(round_):
    PairwiseMasks.derive("north", {"north": bytes(32), "south": bytes(32)})


def bad_value(round_):
    layout, bound, _, _ = round_
    values = {"n": ArrayValues(np.array([11, 0, 0])), "wide": ArrayValues(np.zeros(4100, np.int64))}
    masks = PairwiseMasks.derive("north", {"south": bytes(32)})
    key = secret.generate(CLEAR, FixedEntropy(b"x"))[0]
    role = Contributor(
        layout=layout, values=values, masks=masks, encryptor=public.encryptor(key), transcript=bound, first=True
    )
    list(role.batches())


BAD = {
    "a party's contribution missing": (bad_set, "ProtocolError"),
    "a count slot off by one": (bad_count, "IntegrityError"),
    "the reserved slot off by one": (bad_reserved_slot, "IntegrityError"),
    "opened under another transcript": (bad_transcript, "IntegrityError"),
    "two ciphertexts in each other's place": (bad_order, "IntegrityError"),
    "the last ciphertext missing": (bad_length, "IntegrityError"),
    "a ciphertext too many": (bad_extra, "IntegrityError"),
    "one party's ciphertexts for another's": (bad_repeat, "IntegrityError"),
    "a contribution of another round": (bad_other_round, "IntegrityError"),
    "a receipt over another order": (bad_receipt, "IntegrityError"),
    "a receipt over another number": (bad_receipt_count, "IntegrityError"),
    "a second opening": (bad_second_opening, "KeyAccessError"),
    "a mask key too few": (bad_set_of_keys, "ParameterError"),
    "another parameter set at the opener": (bad_parameters, "ParameterError"),
    "a short ciphertext": (bad_short_ciphertext, "WireError"),
    "a party alone": (bad_alone, "ParameterError"),
    "a party among its own peers": (bad_own_peer, "ParameterError"),
    "a value beyond its bound": (bad_value, "RangeError"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_rounds_are_refused_with_the_named_error(what):
    act, name = BAD[what]
    with pytest.raises(errors.MpcError) as caught:
        act(frozen_round())

    assert type(caught.value) is getattr(errors, name)
