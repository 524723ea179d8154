"""The coordinator together with one party, against a whole training: what R rounds tell them of the others.

The attackers hold every message that the coordinator carries and everything that party north knows, the group's seed
included, so they open each single contribution of every round. Ratings of south and west are divided among the two in
two ways. False-positive rate of each check: 1e-6; every detector fires when the masks are off.
"""

import numpy as np
import pyarrow as pa
import pytest

from mpc.client.infer import infer_dictionary
from mpc.client.training import training_set
from mpc.keys.secret import SecretKey
from mpc.learn import Ease, GradientFactorization, ImplicitAls, complete
from mpc.learn.splits import splitmix64
from mpc.packing.layout import CHECK_SLOTS
from mpc.params import parameter_set
from mpc.schemes import secret as secret_schemes
from mpc.sum.masks import PairwiseMasks
from mpc.testing.statistics import same_distribution, uniform
from servers.party import group_keys, session
from tests.leakage.test_sum_leakage import NoMasks
from tests.simulation.memory_room import MemoryRoom
from tests.unit.learn.learn_rooms import shops

ROWS = shops(users=90)
ITEMS = tuple(sorted(set(ROWS["item"].tolist())))
SHOP = {"items": ITEMS, "minimum_parties": 1, "minimum_users": 2}
STARS = {"rating": "rating", "rating_range": (0.5, 5.0)}
SPECS = {
    "ease": Ease("films", "user", "item", 10.0, **SHOP),
    "ials": ImplicitAls("films", "user", "item", 8, iterations=4, solver="normal", **SHOP),
    "gradient": GradientFactorization("films", "user", "item", 8, iterations=4, **SHOP, **STARS),
}


def divided(how):
    """North's rows are the same in every division; west gets half of the rest, or next to nothing."""
    mixed = splitmix64(ROWS["user"].view(np.uint64))
    north = mixed % np.uint64(3) == 0
    west = {"evenly": (mixed >> np.uint64(8)) % np.uint64(2) == 0, "one-sided": mixed % np.uint64(25) == 1}[how]
    owner = np.where(north, 0, np.where(west, 2, 1))
    names = ("north", "south", "west")
    return {n: {"films": pa.table({c: v[owner == p] for c, v in ROWS.items()})} for p, n in enumerate(names)}


class Attackers:
    """The coordinator and north: they see the network, and north's memory."""

    def __init__(self, room):
        self.room = room
        self.headers = []
        self.sizes = []
        self.limbs = {"south": [], "west": []}
        self._partial = {}
        room.network.hook = self.see

    def see(self, party, method, direction, message):
        if (method, direction) == ("contribute", "reply") and party in self.limbs:
            held = self._partial.setdefault(party, [])
            held.extend(message.ciphertexts)
            if message.receipt is not None:
                self.open(party, self._partial.pop(party))
        return message

    def open(self, party, ciphertexts):
        """Open one party's contribution of the present round with the group's key."""
        (job,) = self.room.nodes["north"]._jobs.values()
        header = job.asked.header
        material, info = job.group_secret, group_keys.round_info(job)
        secret = secret_schemes.derive(job.parameters, material, info)[1]
        assert isinstance(secret, SecretKey)
        layout = job.layout(header)
        slots = secret_schemes.decryptor(secret).decrypt(ciphertexts)
        payload = np.asarray(slots)[:, CHECK_SLOTS:].reshape(-1)[: layout.payload_slots]
        self.limbs[party].append(payload.astype(np.uint64) & np.uint64((1 << layout.width_bits) - 1))
        if party == "south":
            self.headers.append(header)
            self.modulus = 1 << layout.width_bits
        self.sizes.append((party, tuple(len(c) for c in ciphertexts)))


async def attacked(folder, spec, how):
    """What the attackers hold after a training."""
    tables = divided(how)
    room = MemoryRoom(folder / how, tables, dictionary=infer_dictionary(divided("evenly")))
    seen = Attackers(room)
    try:
        table = room.manifest.dictionary.table("films")
        chosen = training_set(complete(spec, table), 3, None)
        assert parameter_set(chosen).scheme == "rlwe"
        job = room.analyst.sign_training(spec, await room.analyst.keys.take(chosen), timeout_s=600)
        await room.analyst.train(job, lambda step: None)
    finally:
        await room.close()
    return seen


def looks_random(seen):
    return all(uniform(np.concatenate(limbs), seen.modulus) for limbs in seen.limbs.values())


def looks_alike(one, other):
    return all(
        same_distribution(*(np.concatenate(s.limbs[p]).astype(np.int64) for s in (one, other))) for p in one.limbs
    )


@pytest.mark.parametrize("name", SPECS)
async def test_what_they_see_of_all_rounds_does_not_depend_on_the_division(tmp_path, name):
    one, other = [await attacked(tmp_path, SPECS[name], how) for how in ("evenly", "one-sided")]

    assert len(one.headers) > (1 if name == "ease" else 4)
    assert one.headers == other.headers
    assert one.sizes == other.sizes
    assert looks_random(one)
    assert looks_random(other)
    assert looks_alike(one, other)


async def test_without_masks_the_same_detectors_fire(tmp_path, monkeypatch):
    off = type("Off", (), {"derive": staticmethod(lambda me, keys, **_: NoMasks())})
    monkeypatch.setattr(session, "PairwiseMasks", off)
    one, other = [await attacked(tmp_path, SPECS["ials"], how) for how in ("evenly", "one-sided")]

    assert session.PairwiseMasks is not PairwiseMasks
    assert not looks_random(one)
    assert not looks_alike(one, other)
