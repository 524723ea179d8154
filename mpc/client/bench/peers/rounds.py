"""The aggregation round that every library runs, and its measurement."""

import contextlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench import scoring, sums
from mpc.client.bench.cases import Case, Level, Observed, Resources, Twin, Unavailable, Work, expect
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.params import SchemeId, parameter_set

__all__ = ["Peer", "Values", "peer_cases", "version"]

Values = NDArray[np.int64]

PARTIES: Final = 5


class Peer(Protocol):
    """One library in the three roles of a round, under one key pair that it made when it was built."""

    security_bits: int
    threads: int
    notes: str

    def contribute(self, values: Values) -> list[bytes]:
        """A data owner: encrypt and write to bytes."""
        ...

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """The coordinator: read, add, write."""
        ...

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """The key holder: read and decrypt."""
        ...

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """Whether the opened total is right, exactly or within what the scheme promises."""
        ...


def version(package: str) -> str:
    """The installed version.

    Raises:
        Unavailable: It is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable(f"{package} is not installed") from None


def _ckks() -> Peer:
    from mpc.client.bench.peers.tenseal_vectors import CkksVectors

    return CkksVectors()


def _bfv() -> Peer:
    from mpc.client.bench.peers.tenseal_vectors import BfvVectors

    return BfvVectors()


def _lean_bfv() -> Peer:
    from mpc.client.bench.peers.tenseal_vectors import BfvVectors

    return BfvVectors(lean=True)


def _seal() -> Peer:
    from mpc.client.bench.peers.seal_vectors import SealVectors

    return SealVectors()


def _nvflare() -> Peer:
    from mpc.client.bench.peers.nvflare_round import NvflareRound

    return NvflareRound()


def _phe() -> Peer:
    from mpc.client.bench.peers.phe_values import PheValues

    return PheValues()


def _matmul(dimensions: int, rows: int, resources: Resources) -> AbstractContextManager[Work]:
    from mpc.client.bench.peers.tenseal_matmul import tenseal_matmul

    return tenseal_matmul(dimensions, rows, resources)


def _heu() -> Peer:
    from mpc.client.bench.peers.heu_values import HeuValues

    return HeuValues()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    package: str
    make: Callable[[], Peer]
    lengths: Mapping[Level, int]
    """Values of one party: as many as the library manages in a second or two."""


_LONG: Final = {Level.SMOKE: 64, Level.QUICK: 32_768, Level.FULL: 131_072}
_PEERS: Final[Mapping[str, _Entry]] = {
    "tenseal-bfv": _Entry(package="tenseal", make=_bfv, lengths=_LONG),
    "tenseal-bfv-4096": _Entry(package="tenseal", make=_lean_bfv, lengths=_LONG),
    "seal-4096": _Entry(package="tenseal", make=_seal, lengths=_LONG),
    "tenseal-ckks": _Entry(package="tenseal", make=_ckks, lengths=_LONG),
    "nvflare-round": _Entry(package="tenseal", make=_nvflare, lengths=_LONG),
    "phe": _Entry(package="phe", make=_phe, lengths={Level.SMOKE: 1, Level.QUICK: 8, Level.FULL: 32}),
    "sf-heu": _Entry(package="sf-heu", make=_heu, lengths={Level.SMOKE: 2, Level.QUICK: 64, Level.FULL: 256}),
}
_DIMENSIONS, _SCORED = 128, 1000
"""One encrypted query against so many items."""

_OWN: Final = ("rlwe-2048-t30", "rlwe-4096-t60", "bfv-4096-t40", "paillier-3072-s64")


@contextlib.contextmanager
def _prepared(entry: _Entry, length: int, _resources: Resources) -> Iterator[Work]:
    number = version(entry.package)
    peer = entry.make()
    data = sums.vectors(PARTIES, length)
    total = np.sum(data, axis=0)

    def run(_: object) -> tuple[NDArray[Any], Observed]:
        clock = time.process_time
        start = clock()
        contributions = [peer.contribute(values) for values in data]
        contributed = clock()
        summed = peer.add(contributions)
        added = clock()
        opened = peer.open(summed, length)
        phases = {
            "party": (contributed - start) / len(data),
            "coordinator": added - contributed,
            "recipient": clock() - added,
        }
        up = sum(len(c) for contribution in contributions for c in contribution)
        return opened, Observed(wire=Wire(up_bytes=up, down_bytes=sum(map(len, summed))), phases=phases)

    def check(result: tuple[NDArray[Any], Observed]) -> None:
        expect(peer.right(result[0], total), "the total is wrong")

    yield Work(
        run=run,
        check=check,
        observe=lambda result: result[1],
        twins={"numpy": Twin(lambda _: sums.plain_sum(data))},
        values=length * PARTIES,
        scheme=f"{entry.package} {number}",
        security=peer.security_bits,
        payload_bits=sums.VALUE_BITS,
        threads=peer.threads,
        notes=peer.notes,
    )


@contextlib.contextmanager
def _own(name: str, length: int, resources: Resources) -> Iterator[Work]:
    with threads_limited(1), sums.prepared(name, length, PARTIES, resources) as work:
        yield work


def peer_cases(level: Level) -> Iterator[Case]:
    """Ours, then every peer, on the same vectors (shorter ones where a library is slow)."""
    for name in _OWN:
        paillier = parameter_set(name).scheme is SchemeId.PAILLIER
        length = min(_LONG[level], 1_000) if paillier else _LONG[level]
        yield Case(
            path=f"peers/sealroom/{name}",
            group="peers/sealroom",
            labels={"library": "sealroom", "set": name, "length": length, "parties": PARTIES},
            prepare=partial(_own, name, length),
        )
    rows = 100 if level is Level.SMOKE else _SCORED
    for library, make in (("sealroom", scoring.prepared), ("tenseal", _matmul)):
        yield Case(
            path=f"peers/score/{library}",
            group="peers/score",
            labels={"library": library, "dimensions": _DIMENSIONS, "rows": rows},
            prepare=partial(make, _DIMENSIONS, rows),
        )
    for name, entry in _PEERS.items():
        yield Case(
            path=f"peers/{name}",
            group=f"peers/{name}",
            labels={"library": name, "length": entry.lengths[level], "parties": PARTIES},
            prepare=partial(_prepared, entry, entry.lengths[level]),
        )
