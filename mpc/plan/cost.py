"""The cost model: which parameter set carries a sum for the least time, and what it will take.

    seconds = keys + encryption + masks at a party  +  upload  +  addition  +  download  +  decryption  +  round trips

Parties work and upload at the same time; what they send shares the coordinator's line. The constants are medians of one
core of the reference machine; `sealroom bench --calibrate` replaces them. The choice is part of what the analyst signs,
not of the plan: another set gives the same answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mpc.errors import ParameterError, RangeError
from mpc.packing import VectorLayout
from mpc.params import PARAMETER_SETS, ParameterSet, SchemeId
from mpc.primitives import Segment

__all__ = ["CostModel", "SchemeCost", "SumCost", "choose_parameters", "cost_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeCost:
    """Time of one scheme's operations, per plaintext slot and prime."""

    encrypt_ns: float
    add_ns: float
    decrypt_ns: float
    key_s: float
    """Making and sending one key pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Constants of a machine and a network."""

    schemes: Mapping[SchemeId, SchemeCost] = field(
        default_factory=lambda: MappingProxyType(
            {
                SchemeId.CLEAR: SchemeCost(encrypt_ns=4, add_ns=5, decrypt_ns=9, key_s=0.0),
                SchemeId.PAILLIER: SchemeCost(encrypt_ns=54_000, add_ns=390, decrypt_ns=427_000, key_s=0.6),
                SchemeId.BFV: SchemeCost(encrypt_ns=540, add_ns=42, decrypt_ns=160, key_s=0.03),
                SchemeId.RLWE: SchemeCost(encrypt_ns=16, add_ns=5, decrypt_ns=7.2, key_s=0.002),
            }
        )
    )
    mask_ns: float = 27.0
    """One pair's mask, per slot."""

    packing_ns: float = 12.0
    """Limbs in and out, per slot."""

    megabits_per_s: float = 1000.0
    """Line of each member to the coordinator."""

    round_trip_s: float = 0.001
    round_trips: int = 8
    """Messages of one sum that wait for each other."""


DEFAULT_MODEL: Final = CostModel()


@dataclass(frozen=True, slots=True, kw_only=True)
class SumCost:
    """What one sum takes under one parameter set."""

    parameters: ParameterSet
    values: int
    """Integers in the vector."""

    width_bits: int
    slots: int
    """Slots that carry limbs of them."""

    ciphertexts: int
    upload_bytes: int
    """Ciphertexts of one party."""

    download_bytes: int
    """The total, to the opener."""

    key_bytes: int
    party_s: float
    coordinator_s: float
    opener_s: float
    network_s: float

    @property
    def seconds(self) -> float:
        """Predicted time from the local result to the opened total."""
        return self.party_s + self.coordinator_s + self.opener_s + self.network_s


def cost_of(
    segments: Sequence[Segment], participants: int, parameters: ParameterSet, model: CostModel = DEFAULT_MODEL
) -> SumCost:
    """The cost of a sum under one parameter set.

    Raises:
        ParameterError: The set does not carry the sum of so many parties, or its scheme has no constants.
        RangeError: A total may need more than 126 bits and a sign.
    """
    constants = model.schemes.get(parameters.scheme)
    if constants is None:
        raise ParameterError(f"the cost model knows nothing of {parameters.scheme}")
    layout = VectorLayout.compile(tuple(segments), parameters, participants)
    primes = len(parameters.lattice.moduli) if parameters.lattice and parameters.scheme is SchemeId.RLWE else 1
    full_slots = layout.ciphertexts * parameters.slots
    upload = layout.upload_bytes()
    per_slot = constants.encrypt_ns * primes + model.mask_ns * (participants - 1) + model.packing_ns
    bytes_per_s = model.megabits_per_s * 125_000
    moved = participants * (upload + parameters.public_key_bytes) + upload + parameters.public_key_bytes
    return SumCost(
        parameters=parameters,
        values=sum(s.length for s in segments),
        width_bits=layout.width_bits,
        slots=layout.payload_slots,
        ciphertexts=layout.ciphertexts,
        upload_bytes=upload,
        download_bytes=layout.ciphertexts * parameters.ciphertext_bytes,
        key_bytes=parameters.public_key_bytes,
        party_s=full_slots * per_slot * 1e-9,
        coordinator_s=full_slots * participants * constants.add_ns * primes * 1e-9,
        opener_s=constants.key_s + full_slots * (constants.decrypt_ns * primes + model.packing_ns) * 1e-9,
        network_s=moved / bytes_per_s + model.round_trips * model.round_trip_s,
    )


def choose_parameters(
    segments: Sequence[Segment],
    participants: int,
    *,
    scheme: str | None = None,
    sets: Iterable[ParameterSet] | None = None,
    model: CostModel = DEFAULT_MODEL,
) -> SumCost:
    """The cheapest parameter set for a sum.

    Args:
        segments: The sum's segments (`value_header(...).segments`).
        participants: Number of parties k.
        scheme: A scheme's name, or the name of one set, instead of the planner's choice. Sets that hide nothing are
            only ever chosen by name.
        sets: The sets to choose from; the whole catalogue by default.
        model: Constants of machine and network.

    Raises:
        ParameterError: No set fits.
        RangeError: A total may need more bits than any set carries.
    """
    candidates = [s for s in (PARAMETER_SETS.values() if sets is None else sets) if _wanted(s, scheme, model)]
    costs: list[SumCost] = []
    failure: ParameterError | RangeError | None = None
    for candidate in candidates:
        try:
            costs.append(cost_of(segments, participants, candidate, model))
        except (ParameterError, RangeError) as error:
            failure = error
    if costs:
        return min(costs, key=lambda c: (c.seconds, c.parameters.wire_id))
    raise failure or ParameterError(f"no parameter set serves {scheme[:40] if scheme else 'this sum'}")


def _wanted(parameters: ParameterSet, scheme: str | None, model: CostModel) -> bool:
    if scheme is None:
        return not parameters.insecure and parameters.scheme in model.schemes
    return scheme in {parameters.id, parameters.scheme.value}
