"""The adding role: it sees ciphertexts, counts them, checks them against signed receipts, and adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mpc.errors import IntegrityError, ProtocolError
from mpc.parties import PartyId
from mpc.schemes.base import Adder
from mpc.sum.messages import Receipt, ciphertext_digest, ciphertext_list_digest

__all__ = ["Aggregator"]


@dataclass(slots=True)
class Aggregator:
    """Adds the contributions of one round batch by batch; holds one batch, whatever the vector's length.

    Reveals: nothing to anybody. Learns: the header, sizes and times.

    Args:
        adder: Addition for the round's parameter set.
        participants: Exactly the parties that must contribute.
        ciphertexts: How many each must send.
    """

    adder: Adder
    participants: tuple[PartyId, ...]
    ciphertexts: int
    _digests: dict[PartyId, list[bytes]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._digests = {p: [] for p in self.participants}

    def add(self, batch: Mapping[PartyId, Sequence[bytes]]) -> list[bytes]:
        """Add one batch of every party.

        Raises:
            ProtocolError: A party is missing, is a stranger, or sent another number of ciphertexts.
            WireError: A ciphertext breaks the format.
        """
        if set(batch) != set(self.participants):
            raise ProtocolError("a batch has one contribution of every participant")
        counts = {len(c) for c in batch.values()}
        if len(counts) != 1 or 0 in counts:
            raise ProtocolError("the participants' batches differ in length")
        running = self.adder.start(counts.pop())
        for party in self.participants:
            running.add(batch[party])
            self._digests[party] += map(ciphertext_digest, batch[party])
            if len(self._digests[party]) > self.ciphertexts:
                raise ProtocolError("a participant sent more ciphertexts than the layout has", party=party)
        return running.finish()

    def check(self, receipts: Mapping[PartyId, Receipt]) -> None:
        """Compare what arrived with what the parties signed (their signatures are the caller's to verify).

        Raises:
            IntegrityError: A list differs from its receipt.
        """
        for party in self.participants:
            receipt = receipts.get(party)
            digests = self._digests[party]
            if receipt is None or receipt.ciphertexts != self.ciphertexts or len(digests) != self.ciphertexts:
                raise IntegrityError("a contribution is incomplete", party=party)
            if receipt.list_digest != ciphertext_list_digest(digests):
                raise IntegrityError("ciphertexts differ from the signed list", party=party)
