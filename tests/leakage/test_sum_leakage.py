"""What a coordinator that conspires with the key holder sees of a sum, and that each lock is needed.

Every detector below passes on the protocol and fires when the protection it watches is switched off; a protection that
stopped working would be noticed. False-positive rate of each statistical check: 1e-6.
"""

import numpy as np
import pytest

from mpc.entropy import Keystream, SystemEntropy
from mpc.packing.layout import CHECK_SLOTS
from mpc.packing.limbs import to_limbs
from mpc.params import parameter_set
from mpc.parties import PartyId
from mpc.primitives import Sum
from mpc.sum.masks import PairwiseMasks
from mpc.testing.statistics import same_distribution, uniform
from mpc.testing.sums import Round, random_sum

ENCRYPTED = ["bfv-4096-t40", "bfv-8192-t60"]


class NoMasks:
    """Lock two switched off."""

    def mask_values(self, limbs, first_slot, width_bits):
        return limbs

    def mask_checks(self, checks, first_ciphertext, width_bits):
        return checks


class LimbByLimb(PairwiseMasks):
    """The flaw that whole-value masks avoid: each limb masked by itself, without carries."""

    def mask_values(self, limbs, first_slot, width_bits):
        flat = limbs.reshape(-1, 1)
        return self._mask_single(flat, [v for v, _, _ in self.streams], first_slot, width_bits).reshape(limbs.shape)


def constant_sum(values):
    """One request per party with one wide value repeated."""
    return [Sum.of("x", {"v": np.full(3000, v, dtype=np.int64)}, 1 << 60) for v in values]


def limb_views(round_, ciphertexts):
    """The opened payload slots of one party's contribution, limb by limb and ciphertext by ciphertext."""
    slots = round_.decrypt_as_attacker(ciphertexts)
    limbs = round_.layout.segments[0].limbs
    for row in slots:
        payload = row[CHECK_SLOTS:]
        for j in range(limbs):
            yield payload[j::limbs]


def contribution_is_uniform(round_, ciphertexts):
    modulus = 1 << round_.layout.width_bits
    return all(uniform(view, modulus) for view in limb_views(round_, ciphertexts))


@pytest.mark.parametrize("name", ENCRYPTED)
def test_a_single_contribution_opened_with_the_key_is_uniform_in_every_limb_and_ciphertext(name):
    round_ = Round.make(parameter_set(name), constant_sum([1 << 59, 5, 0]))
    for ciphertexts in round_.contributions().values():
        assert contribution_is_uniform(round_, ciphertexts)


def test_without_masks_the_same_detector_sees_the_value():
    round_ = Round.make(parameter_set("bfv-4096-t40"), constant_sum([1 << 59, 5, 0]))
    contributions = round_.contributions(masks={"p1": NoMasks()})

    assert not contribution_is_uniform(round_, contributions["p1"])


def coordinator_reads_the_total(name):
    """Whether the bytes the coordinator holds, taken as plain residues, already add up to the total."""
    parameters = parameter_set(name)
    round_ = Round.make(parameters, constant_sum([40, 2, 0]))
    width = round_.layout.width_bits
    views = []
    for ciphertexts in round_.contributions().values():
        words = np.frombuffer(ciphertexts[0][-(len(ciphertexts[0]) // 8 * 8) :], dtype="<u8")
        views.append(words)
    total = sum(v.astype(object) for v in views)
    return sum(int(t) % (1 << width) == 42 for t in total) > len(total) // 10


@pytest.mark.parametrize("name", ENCRYPTED)
def test_without_the_key_the_coordinator_cannot_add_up_the_total(name):
    assert not coordinator_reads_the_total(name)


def test_without_encryption_the_coordinator_can():
    assert coordinator_reads_the_total("insecure-clear-4096-t62")


def opened_limb_sums(values, masks_class, *, width=38, count=4000):
    """Limb sums as the recipient opens them, for one division of a total over three parties."""
    parties = [PartyId(f"p{i}") for i in range(3)]
    keys = {frozenset(p): SystemEntropy().token(32) for p in ((a, b) for a in parties for b in parties if a < b)}
    opened = np.zeros((count, 2), dtype=np.uint64)
    for me, value in zip(parties, values, strict=True):
        masks = masks_class.derive(me, {p: keys[frozenset((me, p))] for p in parties if p != me})
        limbs = to_limbs(np.full(count, value, dtype=np.int64), width, 2)
        opened += masks.mask_values(limbs, 0, width)
    return opened


def divisions_look_alike(masks_class):
    """Two divisions of one total whose limbs differ: can the recipient tell them apart?"""
    one = opened_limb_sums([1 << 38, 0, 0], masks_class)
    other = opened_limb_sums([1 << 37, 1 << 37, 0], masks_class)
    low, high = (same_distribution(one[:, j].astype(np.int64), other[:, j].astype(np.int64)) for j in (0, 1))
    carries = same_distribution(
        (one[:, 0] >> np.uint64(38)).astype(np.int64), (other[:, 0] >> np.uint64(38)).astype(np.int64)
    )
    word = np.uint64((1 << 38) - 1)
    residues = same_distribution((one[:, 1] & word).astype(np.int64), (other[:, 1] & word).astype(np.int64))
    return low and high and carries and residues


def test_opened_limbs_are_distributed_alike_for_two_divisions_of_one_total():
    assert divisions_look_alike(PairwiseMasks)


def test_masking_limbs_separately_would_tell_the_divisions_apart():
    assert not divisions_look_alike(LimbByLimb)


@pytest.mark.parametrize("name", [*ENCRYPTED, "insecure-clear-4096-t62"])
def test_sizes_and_counts_do_not_depend_on_values(name):
    parameters = parameter_set(name)
    shapes = set()
    for values in ([0, 0, 0], [1 << 60, -(1 << 60), 1], [7, 7, 7]):
        round_ = Round.make(parameters, constant_sum(values))
        for ciphertexts in round_.contributions().values():
            shapes.add(tuple(len(c) for c in ciphertexts))

    assert len(shapes) == 1


def test_two_rounds_share_no_mask():
    requests = random_sum(3, [("v", 4000, 10)])
    first = Round.make(parameter_set("insecure-clear-4096-t62"), requests)
    again = first.contributions()
    first.context = type(first.context)(room="r", job="j", attempt=1, round=2, request_digest=bytes(32))
    other = first.contributions()
    for party in again:
        a, b = first.decrypt_as_attacker(again[party]), first.decrypt_as_attacker(other[party])
        assert int((a == b).sum()) <= 2


def test_values_and_check_slots_use_different_streams():
    key = SystemEntropy().token(32)
    ((values, checks, _),) = PairwiseMasks.derive(PartyId("a"), {PartyId("b"): key}).streams
    assert isinstance(values, Keystream)
    assert not np.array_equal(values.words(0, 64), checks.words(0, 64))
