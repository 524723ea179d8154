"""One job at one party: what was committed to, where it stands, and what follows from that. No waiting in here."""

import asyncio
from dataclasses import dataclass, field

from mpc.errors import InternalError, ProtocolError
from mpc.keys.secret import MaskKey, SealingKey
from mpc.packing.layout import VectorLayout
from mpc.params import parameter_set
from mpc.params.base import ParameterSet
from mpc.parties import PartyId
from mpc.primitives import Recipient, SumHeader
from mpc.schemes.base import Ability
from mpc.schemes.public import abilities
from mpc.sum.masks import pair_info
from mpc.sum.messages import Commitment, Receipt
from mpc.sum.transcript import RoundContext, transcript
from mpc.wire.job import JobRequest
from servers.party.pool import Worker
from servers.party.session import Asked

__all__ = ["PartyJob"]


@dataclass(slots=True, kw_only=True)
class PartyJob:
    """A job that this party committed to."""

    me: PartyId
    request: JobRequest
    digest: bytes
    """Digest of the analyst's signed request."""

    recipient_key: bytes
    commitment: Commitment
    mask_key: MaskKey
    sealing_key: SealingKey
    touched: float
    """When something was last asked of the job."""

    peers: dict[PartyId, Commitment] = field(default_factory=dict)
    worker: Worker | None = None
    round: int = 0
    asked: Asked | None = None
    group_secret: bytes = field(default=b"", repr=False)
    """A round's secret key, or the seed of all rounds' keys."""

    group_commitment: bytes = b""
    sealed: list[bytes] = field(default_factory=list, repr=False)
    notes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    expiry: asyncio.Task[None] | None = None

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the job's keys."""
        return parameter_set(self.request.parameter_set)

    @property
    def derives_keys(self) -> bool:
        """Whether the group's keys derive from one seed."""
        return Ability.SEEDS in abilities(self.parameters.scheme)

    def header(self, round_number: int, recipient: Recipient | None = None) -> SumHeader:
        """The header of the open round.

        Raises:
            ProtocolError: Another round is open, or it has another recipient.
        """
        header = self.asked.header if self.asked is not None else None
        if header is None or round_number != self.round:
            raise ProtocolError("", reason="that round is not open", round=self.round)
        if recipient is not None and header.recipient is not recipient:
            raise ProtocolError("", reason="the round has another recipient", round=self.round)
        return header

    def layout(self, header: SumHeader) -> VectorLayout:
        """The layout of the open round."""
        if self.asked is None:
            raise InternalError("no round is open")
        parameters = parameter_set(self.asked.parameter_set)
        return VectorLayout.compile(header.segments, parameters, len(self.request.participants))

    def transcript(self, header: SumHeader, key_digest: bytes) -> bytes:
        """T of the open round under a recipient's key."""
        context = RoundContext(
            room=self.request.room,
            job=self.request.job,
            attempt=self.request.attempt,
            round=self.round,
            request_digest=self.digest,
        )
        return transcript(
            context,
            header=header,
            layout=self.layout(header),
            mask_keys={p: c.mask_key for p, c in self.peers.items()},
            recipient_key_digest=key_digest,
        )

    def pair_keys(self, bound: bytes) -> dict[str, bytes]:
        """One derived key for every peer, under a transcript."""
        return {
            party: self.mask_key.pair_key(commitment.mask_key, transcript=bound, info=pair_info(self.me, party))
            for party, commitment in self.peers.items()
            if party != self.me
        }

    def receipt(self, header: SumHeader, list_digest: bytes) -> Receipt:
        """The statement over the ciphertexts that were sent in the open round."""
        return Receipt(
            room=self.request.room,
            job=self.request.job,
            attempt=self.request.attempt,
            round=self.round,
            party=self.me,
            request_digest=self.digest,
            ciphertexts=self.layout(header).ciphertexts,
            list_digest=list_digest,
        )
