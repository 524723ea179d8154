"""Finding the union of the parties' group keys with one sum: an invertible Bloom lookup table over the integers.

After Goodrich and Mitzenmacher, "Invertible Bloom Lookup Tables" (2011, arXiv:1101.2245), section 2, with sums in place
of exclusive-or, so that a key held by c parties appears c times and still peels: a cell that holds one distinct key has
count c, key words c * word and checksum c * check, and both divide by c.

Every party inserts each of its distinct keys once; the tables are added by the sum primitive; whoever opens the total
peels it. Nothing is reduced before the addition. If the parties reduced their cells modulo anything, the opened integer
would also count how often each of them wrapped, which depends on who holds which keys.

Hashing is multilinear modulo 2^64 with coefficients from a keyed stream (Lemire and Kaser, "Strongly universal string
hashing is fast", 2014, section 3), then mixed: a linear checksum would take the mean of several keys for a key.

Reveals: to the openers, the union of the keys and for each the number of holders, and nothing else of the parties'
keys as long as the total alone is opened: the total is a function of exactly that multiset.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream
from mpc.errors import IntegrityError, ParameterError, RangeError

__all__ = ["LookupTable", "table_cells"]

_WORD_BITS: Final = 32
_CHECK_BITS: Final = 31
MAX_PARTIES: Final = 64
_FAILURE: Final = 1e-7
_THRESHOLD: Final = {4: 0.7722, 5: 0.7018, 6: 0.6371}
"""Largest load at which peeling succeeds, by number of hash functions (ibid., table 1)."""


@cache
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
        """32-bit words of an encoded key."""
        return -(-8 * self.key_bytes // _WORD_BITS)

    @property
    def segments(self) -> dict[str, tuple[int, int]]:
        """Length and bound of every segment of the sum."""
        cells = table_cells(self.capacity)[1]
        return {
            "count": (cells, self.capacity),
            "check": (cells, self.capacity * ((1 << _CHECK_BITS) - 1)),
            "words": (cells * self.words, self.capacity * ((1 << _WORD_BITS) - 1)),
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
        cells = _Cells.empty(table_cells(self.capacity)[1], self.words)
        if own:
            words = self._words(own)
            cells.add(words, *self._hashed(words), np.ones(len(own), dtype=np.int64))
        return {"count": cells.count, "check": cells.check, "words": cells.words.reshape(-1)}

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
        cells = self._opened(totals)
        found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        held = 0
        candidates = np.flatnonzero((cells.count > 0) & (cells.count <= parties))
        while candidates.size and held <= self.capacity:
            words, holders = self._pure(candidates, cells)
            if not len(words):
                break
            places, checks = self._hashed(words)
            cells.add(words, places, checks, -holders)
            found.append((words, holders))
            held += len(words)
            touched = np.unique(places)
            candidates = touched[(cells.count[touched] > 0) & (cells.count[touched] <= parties)]
        if cells.occupied or held > self.capacity:
            raise RangeError("there are more distinct keys than the discovery capacity", column=self.names)
        return {key: int(n) for words, holders in found for key, n in zip(self._keys(words), holders, strict=True)}

    def _opened(self, totals: Mapping[str, NDArray[np.int64]]) -> "_Cells":
        cells = table_cells(self.capacity)[1]
        count, check, words = (np.array(totals[name], dtype=np.int64) for name in ("count", "check", "words"))
        if count.shape != (cells,) or check.shape != (cells,) or words.shape != (cells * self.words,):
            raise IntegrityError("the discovery totals do not have the table's shape")
        if min(int(count.min()), int(check.min()), int(words.min())) < 0:
            raise IntegrityError("the discovery totals are not sums of tables")
        return _Cells(count, check, words.reshape(cells, self.words))

    def _pure(self, candidates: NDArray[np.int64], cells: "_Cells") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Words and holders of the distinct keys that stand alone in some candidate cell."""
        holders = cells.count[candidates]
        words, rest = np.divmod(cells.words[candidates], holders[:, None])
        checks, check_rest = np.divmod(cells.check[candidates], holders)
        alone = (check_rest == 0) & ~rest.any(axis=1) & (words >> _WORD_BITS == 0).all(axis=1)
        spare = 8 * self.key_bytes % _WORD_BITS
        if spare:  # the first word carries only the leading bytes of the key
            alone &= words[:, 0] >> spare == 0
        candidates, holders, words, checks = candidates[alone], holders[alone], words[alone], checks[alone]
        places, expected = self._hashed(words)
        good = (checks == expected) & (places == candidates[:, None]).any(axis=1)
        _, first = np.unique(words[good], axis=0, return_index=True)
        return words[good][first], holders[good][first]

    def _hashed(self, words: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cells of keys, one in each subtable, shape `(keys, hashes)`, and their checksums."""
        hashes, cells = table_cells(self.capacity)
        size = np.uint64(cells // hashes)
        key = hashlib.sha256(b"sealroom/v1/lookup-table" + self.seed).digest()
        coefficients = Keystream(key).words(0, (hashes + 1) * (self.words + 1)).reshape(hashes + 1, self.words + 1)
        plain = words.astype(np.uint64)
        high = _mixed(plain @ coefficients[:, 1:].T + coefficients[:, 0]) >> np.uint64(32)  # modulo 2^64
        places = (high[:, :hashes] * size) >> np.uint64(32)
        base = np.arange(hashes, dtype=np.int64) * np.int64(size)
        return places.astype(np.int64) + base, (high[:, hashes] >> np.uint64(32 - _CHECK_BITS)).astype(np.int64)

    def _words(self, keys: list[bytes]) -> NDArray[np.int64]:
        """Keys as big-endian words, the first one filled up with zeros in front, shape `(keys, words)`."""
        if any(len(key) != self.key_bytes for key in keys):
            raise ParameterError("a group key has the wrong length")
        padded = np.zeros((len(keys), 4 * self.words), dtype=np.uint8)
        padded[:, 4 * self.words - self.key_bytes :] = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(
            len(keys), self.key_bytes
        )
        return padded.view(">u4").astype(np.int64)

    def _keys(self, words: NDArray[np.int64]) -> list[bytes]:
        """The inverse of `_words`."""
        raw = np.ascontiguousarray(words.astype(">u4")).view(np.uint8).reshape(len(words), 4 * self.words)
        return [row.tobytes() for row in raw[:, 4 * self.words - self.key_bytes :]]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit words without linear structure (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(slots=True)
class _Cells:
    """The cells of a table, as exact integers: 64 parties x 2^20 keys x 2^32 stay below 2^59."""

    count: NDArray[np.int64]
    check: NDArray[np.int64]
    words: NDArray[np.int64]

    @classmethod
    def empty(cls, cells: int, words: int) -> "_Cells":
        """No keys."""
        return cls(np.zeros(cells, np.int64), np.zeros(cells, np.int64), np.zeros((cells, words), np.int64))

    def add(
        self,
        words: NDArray[np.int64],
        places: NDArray[np.int64],
        checks: NDArray[np.int64],
        times: NDArray[np.int64],
    ) -> None:
        """Add each key a number of times (negative: take it out) to all its cells."""
        for j in range(places.shape[1]):
            at = places[:, j]
            np.add.at(self.count, at, times)
            np.add.at(self.check, at, checks * times)
            np.add.at(self.words, at, words * times[:, None])

    @property
    def occupied(self) -> bool:
        """Whether anything is left."""
        return bool(self.count.any() or self.check.any() or self.words.any())
