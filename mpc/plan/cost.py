"""The cost model: which parameter set carries the sums of a job for the least time, and what they will take.

    one sum = keys + encryption + masks at a party  +  upload  +  addition  +  download  +  decryption  +  round trips
    a job   = what every job takes  +  its sums

Parties work and send at the same time, each over a line of its own; the coordinator's line is taken to carry all of
them at once. The constants are medians of one core of the reference machine; `sealroom bench --calibrate` replaces
them, and whoever asks states the line. The choice is part of what the analyst signs, not of the plan: another set gives
the same answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mpc.errors import ParameterError, RangeError
from mpc.packing import VectorLayout
from mpc.params import PARAMETER_SETS, ParameterSet, SchemeId
from mpc.primitives import Segment
from mpc.schemes import public
from mpc.schemes.base import Ability

__all__ = [
    "CostModel",
    "Line",
    "SchemeCost",
    "SumCost",
    "SumShape",
    "choose_for_sums",
    "choose_parameters",
    "cost_of",
]

_BLOCK: Final[Mapping[SchemeId, int]] = MappingProxyType({SchemeId.RLWE: 8})
"""Ciphertexts that a scheme encrypts and decrypts together; a block that is not full takes the time of a full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The line of each member to the coordinator."""

    megabits_per_s: float = 1000.0
    latency_s: float = 0.0
    """One way."""


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
                SchemeId.CLEAR: SchemeCost(encrypt_ns=0, add_ns=9.8, decrypt_ns=0.8, key_s=0.001),
                SchemeId.PAILLIER: SchemeCost(encrypt_ns=55_000, add_ns=280, decrypt_ns=225_000, key_s=0.15),
                SchemeId.BFV: SchemeCost(encrypt_ns=340, add_ns=37, decrypt_ns=157, key_s=0.004),
                SchemeId.RLWE: SchemeCost(encrypt_ns=17, add_ns=13, decrypt_ns=4.1, key_s=0.0013),
            }
        )
    )
    mask_ns: float = 1.9
    """One pair's mask, per slot."""

    packing_ns: float = 11.0
    """Limbs in and out, digests and copies, per slot."""

    job_s: float = 0.08
    """What every job takes beside its sums, on an idle machine: signatures, messages, the parties' worker processes."""

    sum_s: float = 0.015
    """What every sum takes beside arithmetic and bytes."""

    line: Line = field(default_factory=Line)
    job_round_trips: int = 3
    """Messages of a job that wait for each other, beside those of its sums."""

    sum_round_trips: int = 4
    """Messages of one sum that wait for each other."""

    @property
    def fixed_s(self) -> float:
        """What a job takes before its first sum."""
        return self.job_s + self.job_round_trips * 2 * self.line.latency_s


DEFAULT_MODEL: Final = CostModel()


@dataclass(frozen=True, slots=True, kw_only=True)
class SumShape:
    """What the cost of a sum depends on beside the parameter set."""

    segments: Sequence[Segment]
    group: bool = False
    """Whether the parties open it themselves, under a key that all of them hold."""


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
    segments: Sequence[Segment],
    participants: int,
    parameters: ParameterSet,
    model: CostModel = DEFAULT_MODEL,
    *,
    group: bool = False,
) -> SumCost:
    """The cost of a sum under one parameter set.

    Members of a group encrypt with its secret key where that makes seeded ciphertexts, and then no public key travels.

    Args:
        segments: The sum's segments.
        participants: Number of parties k.
        parameters: The set.
        model: Constants of machine and line.
        group: Whether the parties open it themselves.

    Raises:
        ParameterError: The set does not carry the sum of so many parties, or its scheme has no constants.
        RangeError: A total may need more than 126 bits and a sign.
    """
    constants = model.schemes.get(parameters.scheme)
    if constants is None:
        raise ParameterError(f"the cost model knows nothing of {parameters.scheme}")
    layout = VectorLayout.compile(tuple(segments), parameters, participants)
    seeded = group and Ability.SEEDS in public.abilities(parameters.scheme)
    upload, key_bytes = layout.upload_bytes(symmetric=seeded), 0 if seeded else parameters.public_key_bytes
    download = layout.ciphertexts * parameters.ciphertext_bytes
    primes = len(parameters.lattice.moduli) if parameters.lattice and parameters.scheme is SchemeId.RLWE else 1
    slots, block = layout.ciphertexts * parameters.slots, _BLOCK.get(parameters.scheme, 1)
    blocked = -(-layout.ciphertexts // block) * block * parameters.slots * primes
    masked = slots * (model.mask_ns * (participants - 1) + model.packing_ns)
    moved = upload + download + 2 * key_bytes  # a key travels to the coordinator, and from there
    line = model.line
    return SumCost(
        parameters=parameters,
        values=sum(s.length for s in segments),
        width_bits=layout.width_bits,
        slots=layout.payload_slots,
        ciphertexts=layout.ciphertexts,
        upload_bytes=upload,
        download_bytes=download,
        key_bytes=key_bytes,
        party_s=(blocked * constants.encrypt_ns + masked) * 1e-9,
        coordinator_s=slots * participants * constants.add_ns * primes * 1e-9,
        opener_s=constants.key_s + (blocked * constants.decrypt_ns + slots * model.packing_ns) * 1e-9,
        network_s=moved / (line.megabits_per_s * 125_000) + model.sum_round_trips * 2 * line.latency_s + model.sum_s,
    )


def choose_for_sums(
    sums: Sequence[SumShape],
    participants: int,
    *,
    scheme: str | None = None,
    sets: Iterable[ParameterSet] | None = None,
    model: CostModel = DEFAULT_MODEL,
) -> tuple[SumCost, ...]:
    """The costs of a job's sums under the one set that serves all of them for the least time together.

    Args:
        sums: The sums of the job; at least one.
        participants: Number of parties k.
        scheme: A scheme's name, or the name of one set, instead of the planner's choice. Sets that hide nothing are
            only ever chosen by name.
        sets: The sets to choose from; the whole catalogue by default.
        model: Constants of machine and line.

    Raises:
        ParameterError: No set fits.
        RangeError: A total may need more bits than any set carries.
    """
    candidates = [s for s in (PARAMETER_SETS.values() if sets is None else sets) if _wanted(s, scheme, model)]
    found: list[tuple[SumCost, ...]] = []
    failure: ParameterError | RangeError | None = None
    for candidate in candidates:
        try:
            found.append(tuple(cost_of(s.segments, participants, candidate, model, group=s.group) for s in sums))
        except (ParameterError, RangeError) as error:
            failure = error
    if found:
        return min(found, key=lambda costs: (sum(c.seconds for c in costs), costs[0].parameters.wire_id))
    raise failure or ParameterError(f"no parameter set serves {scheme[:40] if scheme else 'this sum'}")


def choose_parameters(
    segments: Sequence[Segment],
    participants: int,
    *,
    scheme: str | None = None,
    sets: Iterable[ParameterSet] | None = None,
    model: CostModel = DEFAULT_MODEL,
    group: bool = False,
) -> SumCost:
    """The cheapest parameter set for one sum; arguments and errors are those of `choose_for_sums`."""
    shape = SumShape(segments=segments, group=group)
    return choose_for_sums([shape], participants, scheme=scheme, sets=sets, model=model)[0]


def _wanted(parameters: ParameterSet, scheme: str | None, model: CostModel) -> bool:
    if scheme is None:
        return not parameters.insecure and parameters.scheme in model.schemes
    return scheme in {parameters.id, parameters.scheme.value}
