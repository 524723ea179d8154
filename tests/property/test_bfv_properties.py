"""Properties of the wire format and the adder of `bfv`, and a fuzz campaign against its parser."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.entropy import Keystream, SystemEntropy, uniform_below
from mpc.errors import WireError
from mpc.params import parameter_set
from mpc.schemes.bfv import public, secret
from mpc.schemes.bfv.wire import pack, unpack
from mpc.schemes.header import Kind
from mpc.testing.mutations import mutate

SETS = [parameter_set("bfv-4096-t40"), parameter_set("bfv-8192-t60")]


@st.composite
def residue_arrays(draw, parameters):
    """Uniform residues, with some places at the ends of the range."""
    moduli, degree = parameters.lattice.moduli, parameters.lattice.degree
    stream = Keystream(draw(st.binary(min_size=32, max_size=32)))
    planes = [uniform_below(stream, 2 * degree, p).reshape(2, degree) for p in moduli]
    residues = np.stack(planes, axis=1)
    for _ in range(draw(st.integers(0, 8))):
        component, prime, place = (draw(st.integers(0, n - 1)) for n in residues.shape)
        residues[component, prime, place] = draw(st.sampled_from([0, 1, moduli[prime] - 1]))
    return residues


parameter_sets = st.sampled_from(SETS)
kinds = st.sampled_from(list(Kind))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), parameters=parameter_sets, kind=kinds)
def test_residues_return_from_their_bytes(data, parameters, kind):
    residues = data.draw(residue_arrays(parameters))
    packed = pack(residues, parameters, kind)

    assert len(packed) == parameters.ciphertext_bytes
    assert np.array_equal(unpack(packed, parameters, kind), residues)
    assert pack(unpack(packed, parameters, kind), parameters, kind) == packed


@settings(max_examples=40, deadline=None)
@given(data=st.data(), parameters=parameter_sets)
def test_a_residue_at_or_above_its_prime_is_refused_wherever_it_is(data, parameters):
    residues = data.draw(residue_arrays(parameters))
    component, prime, place = (data.draw(st.integers(0, n - 1)) for n in residues.shape)
    modulus = parameters.lattice.moduli[prime]
    top = (1 << 8 * ((modulus.bit_length() + 7) // 8)) - 1
    residues[component, prime, place] = data.draw(st.integers(modulus, top))

    with pytest.raises(WireError):
        unpack(pack(residues, parameters, Kind.CIPHERTEXT), parameters, Kind.CIPHERTEXT)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), parameters=parameter_sets, contributions=st.integers(1, 4), count=st.integers(0, 2))
def test_the_adder_adds_residues_modulo_each_prime(data, parameters, contributions, count):
    vectors = [[data.draw(residue_arrays(parameters)) for _ in range(count)] for _ in range(contributions)]
    total = public.adder(parameters).start(count)
    for vector in vectors:
        total.add([pack(residues, parameters, Kind.CIPHERTEXT) for residues in vector])
    moduli = np.array(parameters.lattice.moduli, dtype=object)[:, None]

    for i, data_ in enumerate(total.finish()):
        expected = sum(vector[i].astype(object) for vector in vectors) % moduli
        assert np.array_equal(unpack(data_, parameters, Kind.CIPHERTEXT).astype(object), expected)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), parameters=parameter_sets, kind=kinds)
def test_arbitrary_bytes_are_refused(data, parameters, kind):
    with pytest.raises(WireError):
        unpack(data, parameters, kind)


def _campaign(cases, seed):
    source = random.Random(seed)
    parameters = SETS[0]
    moduli = np.array(parameters.lattice.moduli, dtype=np.uint64)[:, None]
    public_key, key = secret.generate(parameters, SystemEntropy())
    good = public.encryptor(public_key).encrypt(np.zeros((1, parameters.slots), dtype=np.uint64))[0]
    decryptor, accepted, opened = secret.decryptor(key), 0, 0
    for case in range(cases):
        kind, base = ((Kind.CIPHERTEXT, good), (Kind.PUBLIC_KEY, public_key.data))[case % 2]
        message = mutate(base, source)
        try:
            residues = unpack(message, parameters, kind)
        except WireError:
            continue
        accepted += 1
        assert residues.shape == (2, 2, parameters.slots)
        assert (residues < moduli).all()
        assert residues.any(axis=2).all()
        assert pack(residues, parameters, kind) == message
        if kind is Kind.CIPHERTEXT and opened < 300:
            opened += 1
            assert decryptor.decrypt([message]).shape == (1, parameters.slots)
        elif opened < 300:
            public.encryptor(public.validate_public_key(parameters, message)).encrypt(np.zeros((1, 4096), np.uint64))
    return accepted


def test_mutated_messages_are_refused_or_well_formed():
    assert 0 < _campaign(3_000, 1) < 3_000


@pytest.mark.fuzz
def test_a_hundred_thousand_mutated_messages_are_refused_or_well_formed():
    assert 0 < _campaign(100_000, 2) < 100_000
