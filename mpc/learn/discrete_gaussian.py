"""Exact samples of the discrete Gaussian: integer arithmetic on uniform words, no floating point anywhere.

Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy" (NeurIPS 2020, arXiv 2004.00010): algorithm 1
(Bernoulli with probability exp(-gamma)), algorithm 2 (discrete Laplace), algorithm 3 (discrete Gaussian). Many samples
are drawn at once: every step draws for all that are still undecided.

How long a draw takes depends on how many candidates were rejected, which is independent of the samples that were
accepted but for their number of tries; nobody outside the party can see it.
"""

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream, expand, uniform_below
from mpc.errors import ParameterError

__all__ = ["LARGEST_VARIANCE", "VARIANCE_STEPS", "DiscreteGaussian"]

VARIANCE_STEPS: Final = 16
"""Variances are multiples of 1/16, so that every fraction below fits 63 bits."""

LARGEST_VARIANCE: Final = 1 << 20

_AT_ONCE: Final = 1 << 17
_MOST_TERMS: Final = 40
_FARTHEST: Final = 1 << 40

Integers = NDArray[np.int64]


class DiscreteGaussian:
    """Draws from N_Z(0, variance): the integers x with probability proportional to exp(-x^2 / (2 variance)).

    Args:
        key: 32 secret bytes, used for these draws alone; equal keys give equal draws.
        variance: A multiple of 1/16 between 1/16 and 2^20.

    Raises:
        ParameterError: The variance is another number.
    """

    __slots__ = ("_draws", "_key", "_laplace", "_p", "_q")

    def __init__(self, key: bytes, variance: Fraction) -> None:
        if not 0 < variance <= LARGEST_VARIANCE or VARIANCE_STEPS % variance.denominator:
            raise ParameterError("a variance is a multiple of 1/16 up to 2^20")
        self._key = key
        self._draws = 0
        self._p, self._q = variance.numerator, variance.denominator
        # Algorithm 3 takes t = floor(sigma) + 1 for the scale of the Laplace candidates.
        self._laplace = int(np.sqrt(float(variance))) + 1

    def __repr__(self) -> str:
        return "DiscreteGaussian(<secret>)"

    def draw(self, count: int) -> Integers:
        """`count` independent samples, shape `(count,)`."""
        parts = [self._some(min(_AT_ONCE, count - start)) for start in range(0, count, _AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _some(self, count: int) -> Integers:
        out: Integers = np.empty(0, dtype=np.int64)
        t, p, q = self._laplace, self._p, self._q
        while len(out) < count:
            y = self._two_sided(count - len(out) + 64)
            # Accept with exp(-(|y| - variance / t)^2 / (2 variance)) = exp(-(|y| q t - p)^2 / (2 p q t^2)).
            above = (np.abs(y) * (q * t) - p) ** 2
            out = np.concatenate([out, y[self._exponential(above, 2 * p * q * t * t)]])
        return out[:count]

    def _two_sided(self, count: int) -> Integers:
        """Candidates of the discrete Laplace distribution of scale t; at least one, about `count`."""
        t = self._laplace
        low = self._below(2 * count, t)
        low = low[self._exponential(low, t)]
        high = self._runs(len(low))
        magnitude = low + t * high
        negative = self._below(len(low), 2) == 1
        kept = ~(negative & (magnitude == 0))
        signed: Integers = np.where(negative, -magnitude, magnitude)[kept]
        return signed

    def _runs(self, count: int) -> Integers:
        """Successes of Bernoulli(exp(-1)) before the first failure."""
        out = np.zeros(count, dtype=np.int64)
        running = np.arange(count)
        while len(running):
            running = running[self._at_most_one(np.ones(len(running), dtype=np.int64), 1)]
            out[running] += 1
            if int(out.max(initial=0)) > _FARTHEST:
                raise ParameterError("the keystream is broken")
        return out

    def _exponential(self, numerators: Integers, denominator: int) -> NDArray[np.bool_]:
        """Bernoulli(exp(-n / d)) for each n >= 0 (algorithm 1): a trial of exp(-1) per whole unit, one of the rest."""
        wholes, rest = np.divmod(numerators, denominator)
        alive = np.flatnonzero(self._at_most_one(rest, denominator))
        left = wholes[alive]
        while len(alive) and int(left.max()) > 0:
            waiting = left > 0
            passed = np.ones(len(alive), dtype=bool)
            passed[waiting] = self._at_most_one(np.ones(int(waiting.sum()), dtype=np.int64), 1)
            alive, left = alive[passed], left[passed] - waiting[passed]
        out = np.zeros(len(numerators), dtype=bool)
        out[alive] = True
        return out

    def _at_most_one(self, numerators: Integers, denominator: int) -> NDArray[np.bool_]:
        """Bernoulli(exp(-n / d)) for 0 <= n <= d: the first k with a failure of Bernoulli(n / (d k)) is odd."""
        out = np.zeros(len(numerators), dtype=bool)
        undecided = np.arange(len(numerators))
        for k in range(1, _MOST_TERMS):
            if not len(undecided):
                return out
            failed = self._below(len(undecided), denominator * k) >= numerators[undecided]
            out[undecided[failed]] = k % 2 == 1
            undecided = undecided[~failed]
        # Reached with probability below 1 / 39!: then the stream is no stream.
        raise ParameterError("the keystream is broken")

    def _below(self, count: int, modulus: int) -> Integers:
        """Uniform integers below a modulus, from a fresh stretch of key material."""
        if not 0 < modulus < 1 << 62:
            raise ParameterError("a fraction of the sampler does not fit 62 bits")
        self._draws += 1
        stream = Keystream(expand(self._key, b"sealroom/v1/discrete-gaussian" + self._draws.to_bytes(8, "big")))
        return uniform_below(stream, count, modulus).astype(np.int64)
