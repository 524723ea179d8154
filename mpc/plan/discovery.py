"""Finding the union of the parties' group keys with one sum: an invertible Bloom lookup table in a prime field.

After Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables" (2011, arXiv:1101.2245), section 2, with sums modulo
p = 2^31 - 1 in place of exclusive-or, so that a key held by c parties appears c times and still peels: a cell that
holds one distinct key has key words c * word, checksum c * check, and c is invertible modulo p.

Every party inserts each of its distinct keys once; the tables are added by the sum primitive; whoever opens the total
peels it.

Reveals: to the openers, the union of the keys and for each the number of holders, and nothing else of the parties'
keys as long as the total alone is opened: the total is a function of exactly that multiset.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import IntegrityError, ParameterError, RangeError

__all__ = ["PRIME", "LookupTable", "table_cells"]

PRIME: Final = (1 << 31) - 1
_WORD_BITS: Final = 30
MAX_PARTIES: Final = 64
_FAILURE: Final = 1e-7
_THRESHOLD: Final = {4: 0.7722, 5: 0.7018, 6: 0.6371}
"""Largest load at which peeling succeeds, by number of hash functions (ibid., table 1)."""


def table_cells(capacity: int) -> tuple[int, int]:
    """Number of hash functions and of cells for a capacity.

    Two causes of failure are kept below 1e-7 each. Few keys that share all their cells: r subtables of m / r cells
    hold two keys in the same r cells with probability (r / m)^r a pair, and larger such sets are rarer still at loads
    well below the threshold. And load: cells exceed capacity / threshold by a margin that covers fluctuation.

    >>> table_cells(4096)
    (5, 8105)
    """
    best: tuple[int, int] | None = None
    for hashes, threshold in _THRESHOLD.items():
        pairs = capacity * (capacity - 1) / 2
        collision = hashes * (pairs / _FAILURE) ** (1 / hashes)
        load = 1.25 * capacity / threshold + 12 * capacity**0.5 + 8 * hashes
        cells = -(-int(max(collision, load) + 1) // hashes) * hashes
        if best is None or cells < best[1]:
            best = hashes, cells
    if best is None:
        raise ParameterError("no number of hash functions is known")
    return best


@dataclass(frozen=True, slots=True)
class LookupTable:
    """The shape of a table: all parties of a job use the same.

    Args:
        capacity: Most distinct keys over all parties.
        key_bytes: Size of every encoded key.
        seed: Binds the hash functions to the job; the plan digest or the transcript.
        names: What errors call the keys.
    """

    capacity: int
    key_bytes: int
    seed: bytes
    names: str = "the group keys"

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= 1 << 20 or not 1 <= self.key_bytes <= 1 << 13:
            raise ParameterError("a lookup table's capacity or key size is out of bounds")

    @property
    def words(self) -> int:
        """Field elements of an encoded key."""
        return -(-8 * self.key_bytes // _WORD_BITS)

    @property
    def segments(self) -> dict[str, tuple[int, int]]:
        """Length and bound of every segment of the sum."""
        cells = table_cells(self.capacity)[1]
        return {
            "count": (cells, self.capacity),
            "check": (cells, PRIME - 1),
            "words": (cells * self.words, PRIME - 1),
        }

    def insert(self, keys: Iterable[bytes]) -> dict[str, NDArray[np.int64]]:
        """One party's vector.

        Args:
            keys: The party's distinct keys, each of `key_bytes` bytes.

        Raises:
            RangeError: There are more of them than the capacity; names the columns.
        """
        own = sorted(set(keys))
        if len(own) > self.capacity:
            raise RangeError("a party holds more distinct keys than the capacity", column=self.names)
        hashes, cells = table_cells(self.capacity)
        count = np.zeros(cells, dtype=np.int64)
        check = np.zeros(cells, dtype=np.int64)
        words = np.zeros((cells, self.words), dtype=np.int64)
        if own:
            places, checks = self._hashed(own)
            elements = self._elements(own)
            for j in range(hashes):
                at = places[:, j]
                count += np.bincount(at, minlength=cells)
                np.add.at(check, at, checks)
                np.add.at(words, at, elements)
        return {"count": count, "check": check % PRIME, "words": (words % PRIME).reshape(-1)}

    def peel(self, totals: Mapping[str, NDArray[np.int64]], parties: int) -> dict[bytes, int]:
        """The union of the keys, and how many parties hold each.

        Args:
            totals: The opened sums by segment.
            parties: How many parties contributed, at most 64.

        Raises:
            RangeError: There are more distinct keys than the capacity; names the columns.
            IntegrityError: The totals are not the sum of tables of this shape.
        """
        if not 1 <= parties <= MAX_PARTIES:
            raise ParameterError(f"discovery takes 1 to {MAX_PARTIES} parties")
        cells = table_cells(self.capacity)[1]
        count = np.array(totals["count"], dtype=np.int64)
        check = np.array(totals["check"], dtype=np.int64) % PRIME
        words = np.array(totals["words"], dtype=np.int64).reshape(cells, self.words) % PRIME
        if count.shape != (cells,) or check.shape != (cells,) or (count < 0).any():
            raise IntegrityError("the discovery totals do not have the table's shape")
        found: dict[bytes, int] = {}
        candidates = np.flatnonzero((count > 0) & (count <= parties))
        while candidates.size:
            pure = self._pure(candidates, count, check, words, found)
            if not pure:
                break
            touched = self._remove(pure, count, check, words)
            found.update(pure)
            if len(found) > self.capacity:
                break
            candidates = touched[(count[touched] > 0) & (count[touched] <= parties)]
        if count.any() or check.any() or words.any() or len(found) > self.capacity:
            raise RangeError("there are more distinct keys than the discovery capacity", column=self.names)
        return found

    def _pure(
        self,
        candidates: NDArray[np.int64],
        count: NDArray[np.int64],
        check: NDArray[np.int64],
        words: NDArray[np.int64],
        found: Mapping[bytes, int],
    ) -> dict[bytes, int]:
        """The keys of cells that hold exactly one."""
        holders = count[candidates]
        inverses = np.array([0, *(pow(c, -1, PRIME) for c in range(1, int(holders.max()) + 1))], dtype=np.int64)
        factor = inverses[holders]
        elements = words[candidates] * factor[:, None] % PRIME
        checks = check[candidates] * factor % PRIME
        pure: dict[bytes, int] = {}
        for row, cell, claimed, held in zip(elements, candidates, checks, holders, strict=True):
            key = self._joined(row)
            if key is None or key in found or key in pure:
                continue
            places, expected = self._hash(key)
            if expected == claimed and cell in places:
                pure[key] = int(held)
        return pure

    def _remove(
        self, pure: Mapping[bytes, int], count: NDArray[np.int64], check: NDArray[np.int64], words: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        keys = list(pure)
        places, checks = self._hashed(keys)
        elements = self._elements(keys)
        held = np.array([pure[k] for k in keys], dtype=np.int64)
        for j in range(places.shape[1]):
            at = places[:, j]
            np.subtract.at(count, at, held)
            np.subtract.at(check, at, checks * held)
            np.subtract.at(words, at, elements * held[:, None])
        touched = np.unique(places)
        check[touched] %= PRIME
        words[touched] %= PRIME
        return touched

    def _hash(self, key: bytes) -> tuple[tuple[int, ...], int]:
        """The key's cells, one in each subtable, and its checksum."""
        hashes, cells = table_cells(self.capacity)
        size = cells // hashes
        digest = hashlib.blake2b(
            key, digest_size=8 * hashes + 8, key=self.seed[:64], person=b"sealroom-iblt-v1"
        ).digest()
        numbers = [int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(hashes + 1)]
        return tuple(j * size + numbers[j] % size for j in range(hashes)), numbers[hashes] % PRIME

    def _hashed(self, keys: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        pairs = [self._hash(key) for key in keys]
        return np.array([p for p, _ in pairs], dtype=np.int64), np.array([c for _, c in pairs], dtype=np.int64)

    def _elements(self, keys: list[bytes]) -> NDArray[np.int64]:
        """Keys as field elements of 30 bits, shape `(keys, words)`."""
        mask = (1 << _WORD_BITS) - 1
        rows = []
        for key in keys:
            if len(key) != self.key_bytes:
                raise ParameterError("a group key has the wrong length")
            number = int.from_bytes(key, "big")
            rows.append([(number >> (_WORD_BITS * i)) & mask for i in range(self.words)])
        return np.array(rows, dtype=np.int64).reshape(len(keys), self.words)

    def _joined(self, row: NDArray[np.int64]) -> bytes | None:
        number = 0
        for i, word in enumerate(row.tolist()):
            if word >> _WORD_BITS:
                return None
            number |= word << (_WORD_BITS * i)
        return number.to_bytes(self.key_bytes, "big") if number >> (8 * self.key_bytes) == 0 else None
