"""A whole round of `sum` in one process: every role real, nothing of the transport."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from mpc.entropy import SystemEntropy
from mpc.keys.public import PublicKey
from mpc.keys.secret import MaskKey, SecretKey
from mpc.packing.layout import CHECK_SLOTS, VectorLayout
from mpc.packing.limbs import LimbReader
from mpc.packing.segments import IntegerArray
from mpc.params.base import ParameterSet
from mpc.parties import PartyId
from mpc.schemes import public as public_schemes
from mpc.schemes import secret as secret_schemes
from mpc.schemes.base import Slots
from mpc.sum.aggregator import Aggregator
from mpc.sum.contributor import Contributor
from mpc.sum.masks import Masks, PairwiseMasks, pair_info
from mpc.sum.opener import Opener
from mpc.sum.spec import Sum, SumHeader
from mpc.sum.transcript import RoundContext, transcript

__all__ = ["Round", "random_sum"]

BATCH = 2


def random_sum(parties: int, segments: Sequence[tuple[str, int, int]], *, seed: int = 1) -> list[Sum]:
    """Requests of several parties with reproducible values that reach their bounds."""
    draw = random.Random(seed)  # noqa: S311 - test data

    def values(length: int, bound: int) -> np.ndarray:
        drawn = [draw.choice((bound, -bound, draw.randint(-bound, bound))) for _ in range(length)]
        return np.array(drawn, dtype=object if bound >= 1 << 62 else np.int64)

    bounds = {name: bound for name, _, bound in segments}
    return [Sum.of("random", {n: values(size, b) for n, size, b in segments}, bounds) for _ in range(parties)]


@dataclass(slots=True)
class Round:
    """One round with its keys; `contributions`, `add` and `open` are the steps of the three roles."""

    parameters: ParameterSet
    requests: Mapping[PartyId, Sum]
    layout: VectorLayout
    public: PublicKey
    secret: SecretKey = field(repr=False)
    mask_keys: Mapping[PartyId, MaskKey] = field(repr=False)
    context: RoundContext

    @classmethod
    def make(cls, parameters: ParameterSet, requests: Sequence[Sum], *, secret: SecretKey | None = None) -> Self:
        """Keys and layout for parties p0, p1, ... with these requests."""
        public, made = secret_schemes.generate(parameters, SystemEntropy())
        named = {PartyId(f"p{i}"): r for i, r in enumerate(requests)}
        layout = VectorLayout.compile(requests[0].header.segments, parameters, len(requests))
        context = RoundContext(room="r", job="j", attempt=1, round=1, request_digest=bytes(32))
        return cls(parameters, named, layout, public, secret or made, {p: MaskKey() for p in named}, context)

    @property
    def header(self) -> SumHeader:
        """The header all parties agree on."""
        return next(iter(self.requests.values())).header

    def transcript(self, *, changed: str = "") -> bytes:
        """T, or what it is at a party to which one field was told differently."""
        header, keys, context = self.header, {p: k.public for p, k in self.mask_keys.items()}, self.context
        digest = self.public.digest
        match changed:
            case "label":
                header = SumHeader("other", header.recipient, header.segments, header.context)
            case "context":
                header = SumHeader(header.label, header.recipient, header.segments, b"other")
            case "bound":
                first = header.segments[0]
                segments = (type(first)(first.name, first.length, first.bound - 1), *header.segments[1:])
                header = SumHeader(header.label, header.recipient, segments, header.context)
            case "key":
                digest = bytes(32)
            case "mask_key":
                keys[PartyId("p0")] = MaskKey().public
            case "request" | "round" | "attempt":
                context = RoundContext(
                    room="r",
                    job="j",
                    attempt=2 if changed == "attempt" else 1,
                    round=2 if changed == "round" else 1,
                    request_digest=b"\1" * 32 if changed == "request" else bytes(32),
                )
        return transcript(context, header=header, layout=self.layout, mask_keys=keys, recipient_key_digest=digest)

    def masks(self, party: PartyId, bound: bytes) -> Masks:
        """A party's masks under a transcript."""
        mine = self.mask_keys[party]
        return PairwiseMasks.derive(
            party,
            {
                peer: mine.pair_key(key.public, transcript=bound, info=pair_info(party, peer))
                for peer, key in self.mask_keys.items()
                if peer != party
            },
            stream=public_schemes.keystream(self.layout.parameters),
        )

    def contributor(self, party: PartyId, *, changed: str = "", masks: Masks | None = None) -> Contributor:
        """A party's contributing role."""
        bound = self.transcript(changed=changed)
        return Contributor(
            layout=self.layout,
            values=self.requests[party].values,
            masks=masks or self.masks(party, bound),
            encryptor=public_schemes.encryptor(self.public),
            transcript=bound,
            first=party == min(self.requests),
        )

    def contributions(
        self, *, equivocate: tuple[str, str] = ("", ""), masks: Mapping[str, Masks] | None = None
    ) -> dict[str, list[bytes]]:
        """Every party's ciphertexts; `equivocate` tells one party another value of one transcript field."""
        out: dict[str, list[bytes]] = {}
        for party in self.requests:
            changed = equivocate[1] if party == equivocate[0] else ""
            role = self.contributor(party, changed=changed, masks=(masks or {}).get(party))
            out[party] = list(itertools.chain.from_iterable(role.batches()))
        return out

    def aggregator(self) -> Aggregator:
        """The adding role."""
        adder = public_schemes.adder(self.parameters, self.public)
        return Aggregator(adder=adder, participants=tuple(self.requests), ciphertexts=self.layout.ciphertexts)

    def add(self, contributions: Mapping[str, Sequence[bytes]], *, check: bool = True) -> list[bytes]:
        """Sum the contributions in batches; without `check`, whatever the set of parties."""
        if not check:
            running = public_schemes.adder(self.parameters, self.public).start(self.layout.ciphertexts)
            for ciphertexts in contributions.values():
                running.add(ciphertexts)
            return running.finish()
        aggregator, out = self.aggregator(), []
        for start in range(0, self.layout.ciphertexts, BATCH):
            out += aggregator.add({PartyId(p): c[start : start + BATCH] for p, c in contributions.items()})
        return out

    def open(self, summed: Sequence[bytes]) -> dict[str, IntegerArray]:
        """The recipient's role, once: the key is used up."""
        opener = Opener(self.layout, secret_schemes.decryptor(self.secret), self.transcript())
        for start in range(0, len(summed), BATCH):
            opener.take(summed[start : start + BATCH])
        return opener.totals()

    def decrypt_as_attacker(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Open ciphertexts with the recipient's key, as one who conspires with the coordinator would."""
        return secret_schemes.decryptor(SecretKey(self.parameters.id, self.secret.material())).decrypt(ciphertexts)

    def opened_payload(self, summed: Sequence[bytes]) -> list[int]:
        """The first segment's values, recombined without any check."""
        reader = LimbReader(self.layout.segments, self.layout.width_bits)
        reader.push(self.decrypt_as_attacker(summed)[:, CHECK_SLOTS:].reshape(-1))
        return list(next(iter(reader.totals().values())).tolist())

    def run(self) -> dict[str, IntegerArray]:
        """All steps."""
        return self.open(self.add(self.contributions()))
