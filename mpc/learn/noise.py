"""Noise on item statistics and what it guarantees.

Every party adds discrete Gaussian noise to its own integers before it encrypts them. All but `missing` parties are
counted on: each adds the declared variance divided by their number, so the opened total carries at least the declared
variance even against `missing` parties that leave their share out, or know it and subtract it. With the default of one
that is any single party.

Accounting, in zero-concentrated differential privacy (Bun, Steinke, TCC 2016, arXiv 1605.02065) for the presence of one
user, whose rows are at one party and of whom at most `items_per_user` count:

- one statistic: rho = eps^2 / 2 with eps the smaller bound of Kairouz, Liu, Steinke, "The distributed discrete Gaussian
  mechanism for federated learning with secure aggregation" (ICML 2021, arXiv 2102.06387), theorem 1, for the sum of
  several discrete Gaussians; for a single one that is Delta^2 / (2 variance), Canonne et al. 2020, theorem 4;
- several statistics: their rho add up;
- (epsilon, delta): Canonne et al. 2020, corollary 13.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy, expand
from mpc.errors import PlanError
from mpc.learn.checks import between
from mpc.learn.discrete_gaussian import LARGEST_VARIANCE, VARIANCE_STEPS, DiscreteGaussian

__all__ = ["Noise", "NoiseMaker", "PrivacyLoss", "Release", "privacy_loss", "share_variance"]

_TAIL: Final = 13.0
"""Standard deviations that a bound leaves for noise: a sum outgrows it with probability below 1e-35 per value."""


class Noise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Noise on the opened item statistics."""

    deviation: float
    """Standard deviation of the total over the parties that are counted on."""

    missing: int = 1
    """Parties that are not counted on."""

    delta: float = 1e-6
    """For the conversion into (epsilon, delta)."""

    def __post_init__(self) -> None:
        between("noise.deviation", self.deviation, 0.5, 1000.0)
        between("noise.missing", self.missing, 0, 1 << 10)
        between("noise.delta", self.delta, 1e-30, 0.5)


def share_variance(noise: Noise, parties: int) -> Fraction:
    """The variance that each party adds: rounded up, so that the total has at least the declared one.

    Raises:
        PlanError: Nobody is counted on, or the shares are too small for the theorem on their sum.

    >>> share_variance(Noise(4.0), 3)
    Fraction(8, 1)
    """
    counted = parties - noise.missing
    if counted < 1:
        raise PlanError("", field="noise.missing", reason="no party is left whose noise counts")
    wanted = Fraction(noise.deviation) ** 2 / counted
    share = Fraction(math.ceil(wanted * VARIANCE_STEPS), VARIANCE_STEPS)
    if share < Fraction(1, 4) or share > LARGEST_VARIANCE:
        reason = "a party's share of the noise has a deviation below 1/2"
        raise PlanError("", field="noise.deviation", reason=reason, instead="a larger deviation")
    return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One opened statistic: how far one user can move it, and of how many numbers it consists."""

    statistic: str
    squared_sensitivity: int
    """Largest squared Euclidean distance between the totals with and without one user."""

    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyLoss:
    """What the opened statistics tell of any one user, at most."""

    rho: float
    """Zero-concentrated differential privacy."""

    epsilon: float
    delta: float
    deviation: float
    counted: int
    """Parties whose noise is counted on."""

    def text(self) -> str:
        """In one sentence."""
        who = "one party adds its" if self.counted == 1 else f"{self.counted} parties add their"
        keeps = "keeps it to itself" if self.counted == 1 else "keep it to themselves"
        return (
            f"the item statistics are {self.rho:.4g}-zCDP for one user, hence ({self.epsilon:.3g}, {self.delta:g})-"
            f"differentially private, as long as {who} noise and {keeps}"
        )


def privacy_loss(noise: Noise, releases: tuple[Release, ...], parties: int) -> PrivacyLoss:
    """The loss of opening all of these statistics once."""
    variance = float(share_variance(noise, parties))
    counted = parties - noise.missing
    rho = sum(_rho(r, variance, counted) for r in releases)
    return PrivacyLoss(
        rho=rho, epsilon=epsilon_of(rho, noise.delta), delta=noise.delta, deviation=noise.deviation, counted=counted
    )


def _rho(release: Release, variance: float, counted: int) -> float:
    """Kairouz, Liu, Steinke 2021, theorem 1; the smaller of its two bounds."""
    ratio = release.squared_sensitivity / (counted * variance)
    tau = 10.0 * sum(math.exp(-2.0 * math.pi**2 * variance * k / (k + 1)) for k in range(1, counted))
    first = ratio + 2.0 * tau * release.values
    second = (math.sqrt(ratio) + tau * math.sqrt(release.values)) ** 2
    return min(first, second) / 2.0


def epsilon_of(rho: float, delta: float) -> float:
    """The least epsilon of (epsilon, delta)-differential privacy that rho-zCDP implies (Canonne et al., corollary 13).

    delta = exp((a - 1) (a rho - epsilon)) / (a - 1) (1 - 1/a)^a, for the best a > 1.

    >>> epsilon_of(0.5, 1e-6) <= 0.5 + 2 * math.sqrt(0.5 * math.log(1e6))
    True
    """

    def at(order: float) -> float:
        excess = math.log(1.0 / delta) + (order - 1.0) * math.log1p(-1.0 / order) - math.log(order)
        return order * rho + excess / (order - 1.0)

    # One minimum: a golden-section search over log(a - 1).
    low, high, ratio = math.log(1e-6), math.log(1e9), (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(200):
        one, other = high - ratio * (high - low), low + ratio * (high - low)
        if at(1.0 + math.exp(one)) < at(1.0 + math.exp(other)):
            high = other
        else:
            low = one
    return max(0.0, at(1.0 + math.exp((low + high) / 2.0)))


class NoiseMaker:
    """One party's noise in one job.

    The noise of a statistic is a function of a secret seed, of the statistic's label and of its values. So a resumed
    job adds the same noise to the same numbers, and nobody can average attempts; and numbers that changed in between
    get independent noise, so that their difference does not show.

    Args:
        seed: 32 secret bytes. It stays at the party, in its checkpoints.
        variance: This party's share.
    """

    __slots__ = ("_seed", "_variance")

    def __init__(self, seed: bytes, variance: Fraction) -> None:
        self._seed = seed
        self._variance = variance

    @staticmethod
    def new_seed(entropy: Entropy | None = None) -> bytes:
        """A fresh seed from the operating system."""
        return (entropy or SystemEntropy()).token(32)

    def __repr__(self) -> str:
        return "NoiseMaker(<secret>)"

    def add(self, label: str, arrays: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """The arrays of one sum with noise on every value."""
        out = {}
        for name, values in arrays.items():
            exact = np.ascontiguousarray(values, dtype=np.int64)
            digest = hashlib.sha256(exact.astype("<i8").tobytes()).digest()
            bound = hmac.new(self._seed, digest + f"{label}/{name}".encode(), hashlib.sha256).digest()
            key = expand(bound, b"sealroom/v1/statistic-noise")
            out[name] = exact + DiscreteGaussian(key, self._variance).draw(len(exact))
        return out

    def reach(self) -> int:
        """How far noise carries a value, but for a chance below 1e-35."""
        return math.ceil(_TAIL * math.sqrt(float(self._variance)))
