"""What a modeller says about a recommender. Every field is public and signed with the job."""

from typing import Literal

import msgspec

from mpc.errors import PlanError
from mpc.learn.checks import between, one_type, refuse
from mpc.learn.noise import Noise

__all__ = ["Als", "Ease", "GradientFactorization", "Holdout", "ImplicitAls", "ItemSolver", "Recommender"]

ItemSolver = Literal["auto", "normal", "blocks", "gradient"]


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rows kept out of training: those whose key falls into bucket 0 (`mpc.learn.splits`).

    For a recommender the key is the pair of user and item; for a regression it is `columns` (one or two of them).
    """

    buckets: int = 10
    seed: int = 0
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        between("holdout.buckets", self.buckets, 2, 1 << 20)
        between("holdout.seed", self.seed, 0, (1 << 63) - 1)
        refuse(len(self.columns) > 2, "holdout.columns", "a hold-out key has one or two columns")


class Identified(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the interactions are."""

    table: str
    user: str
    item: str


class Recommender(Identified, frozen=True, kw_only=True):
    """What all recommenders have in common. A user's rows are all at one party (`local_keys` of the dictionary)."""

    rating: str | None = None
    """Column of ratings; a recommender of implicit feedback may do without."""

    minimum_rating: float | None = None
    """Implicit feedback only: a row counts as positive from this rating on."""

    minimum_items: int = 1
    """Users with fewer (positive) rows are left out, before the hold-out is taken."""

    items_per_user: int | None = None
    """Keep at most so many training rows of a user (chosen by hash): it bounds what one user changes in a sum."""

    minimum_parties: int = 2
    """An item's statistics enter only when so many parties have it."""

    items: tuple[str | int, ...] | None = None
    """The public catalogue; without it the union of the parties' items is discovered, and shown to all of them."""

    capacity: int = 65_536
    """Most distinct items that a discovery must carry."""

    holdout: Holdout | None = None
    users_at_most: int = 1 << 24
    """Most users at one party; it bounds the counts."""

    block_values: int = 1 << 23
    """Most values in one sum: longer statistics are taken in blocks of items, so that memory stays bounded."""

    seed: int = 0
    """Public seed of the initialisation."""

    def check_common(self) -> None:
        """Refuse impossible common fields (`PlanError`)."""
        between("minimum_items", self.minimum_items, 1, 1 << 20)
        between("minimum_parties", self.minimum_parties, 1, 1 << 10)
        between("capacity", self.capacity, 1, 1 << 24)
        between("users_at_most", self.users_at_most, 1, 1 << 40)
        between("block_values", self.block_values, 1 << 10, 1 << 28)
        between("seed", self.seed, 0, (1 << 63) - 1)
        if self.items_per_user is not None:
            between("items_per_user", self.items_per_user, 1, 1 << 20)
        if self.items is not None:
            one_type("items", self.items)
        refuse(self.minimum_rating is not None and self.rating is None, "minimum_rating", "it needs a rating column")


class Ease(Recommender, frozen=True, tag_field="kind", tag="ease"):
    """EASE (Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019): one encrypted item Gram matrix."""

    regularization: float = 200.0
    minimum_users: int = 5
    noise: Noise | None = None
    """Discrete Gaussian noise on the item statistics, against conclusions about one user (`mpc.learn.noise`)."""

    def __post_init__(self) -> None:
        self.check_common()
        between("regularization", self.regularization, 1e-9, 1e12)
        between("minimum_users", self.minimum_users, 1, 1 << 40)
        if self.noise is not None:
            refuse(self.items_per_user is None, "items_per_user", "noise needs a limit on what one user changes")
            refuse(self.minimum_parties != 1, "minimum_parties", "with noise it is 1: who has an item is not opened")


class Factors(Recommender, frozen=True):
    """Fields of the factor models; not a model by itself."""

    dimension: int = 16
    regularization: float = 0.18
    minimum_users: int = 5
    iterations: int = msgspec.field(default=20)
    """Full item updates; a solver in blocks makes one round per block of each, a gradient solver 2.5 rounds."""

    def check_factors(self) -> None:
        """Refuse impossible fields of a factor model (`PlanError`)."""
        self.check_common()
        between("dimension", self.dimension, 1, 4096)
        between("regularization", self.regularization, 1e-9, 1e9)
        between("minimum_users", self.minimum_users, 1, 1 << 40)
        between("iterations", self.iterations, 1, 100_000)


class Solved(Factors, frozen=True, kw_only=True):
    """Fields of the factor models whose item side is solved from summed statistics; not a model by itself."""

    solver: ItemSolver = "auto"
    """`normal`: d(d+1)/2 + d values per item and round; `blocks`: iALS++ (Rendle et al. 2021, arXiv 2110.14044);
    `gradient`: d values per item and round, Adam at the parties; `auto`: the cheapest on the stated link."""

    block: int = 8
    """Dimensions of a block."""

    deviation: float = 0.1
    """Standard deviation of the initial factors, before division by the square root of the dimension."""

    learning_rate: float = 0.1
    """Adam's step (solver `gradient`)."""

    scale_bits: int = 20
    """Fractional bits of every statistic."""

    magnitude: float = 4.0
    """Declared bound on the mean product of two local coordinates of an item; beyond it the job stops, naming the
    statistic."""

    bandwidth_mbit: float = 1000.0
    latency_ms: float = 50.0

    def check_solved(self) -> None:
        """Refuse impossible fields of a solved factor model (`PlanError`)."""
        self.check_factors()
        between("block", self.block, 1, 4096)
        between("deviation", self.deviation, 1e-9, 1e3)
        between("learning_rate", self.learning_rate, 1e-9, 1e3)
        between("scale_bits", self.scale_bits, 4, 60)
        between("magnitude", self.magnitude, 1e-6, 1e12)
        between("bandwidth_mbit", self.bandwidth_mbit, 1e-3, 1e9)
        between("latency_ms", self.latency_ms, 0.0, 1e7)


class Als(Solved, frozen=True, tag_field="kind", tag="als"):
    """Explicit ratings: r = mean + user bias + item bias + factors, weighted regularisation (Zhou et al. 2008)."""

    bias_regularization: float = 5.0
    rating_range: tuple[float, float] | None = None
    """Least and largest rating: bounds the sums and clips predictions."""

    def __post_init__(self) -> None:
        self.check_solved()
        check_ratings(self.rating, self.rating_range)
        refuse(self.minimum_rating is not None, "minimum_rating", "an explicit model learns from every rating")
        between("bias_regularization", self.bias_regularization, 0.0, 1e9)


class ImplicitAls(Solved, frozen=True, tag_field="kind", tag="implicit_als"):
    """Implicit feedback: iALS as tuned by Rendle et al. 2021 (arXiv 2110.14037), frequency-scaled regularisation."""

    regularization: float = 0.03
    iterations: int = 16
    unobserved: float = 0.05
    """Weight of the unobserved pairs."""

    exponent: float = 1.0
    """Exponent of the frequency scaling."""

    def __post_init__(self) -> None:
        self.check_solved()
        between("unobserved", self.unobserved, 0.0, 1e6)
        between("exponent", self.exponent, 0.0, 2.0)


class GradientFactorization(Factors, frozen=True, kw_only=True, tag_field="kind", tag="gradient_factorization"):
    """FedMF and relatives (Chai et al. 2019, arXiv 1906.05108): users step locally, items by summed gradients."""

    regularization: float = 0.02
    iterations: int = 100
    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    learning_rate: float = 0.01
    momentum: float = 0.9
    user_step: Literal["exact", "gradient"] = "exact"
    """Whether a user's vector is solved exactly or moved by one gradient step per round, as FedMF does."""

    rating_range: tuple[float, float] | None = None
    deviation: float = 0.1
    scale_bits: int = 24
    magnitude: float = 16.0
    """Declared bound on the mean gradient of an item's coordinate over its raters."""

    def __post_init__(self) -> None:
        self.check_factors()
        check_ratings(self.rating, self.rating_range)
        refuse(self.minimum_rating is not None, "minimum_rating", "an explicit model learns from every rating")
        between("learning_rate", self.learning_rate, 1e-9, 1e3)
        between("momentum", self.momentum, 0.0, 0.9999)
        between("deviation", self.deviation, 1e-9, 1e3)
        between("scale_bits", self.scale_bits, 4, 60)
        between("magnitude", self.magnitude, 1e-6, 1e12)


def check_ratings(rating: str | None, rating_range: tuple[float, float] | None) -> None:
    """An explicit model needs ratings of a declared range (`PlanError`)."""
    if rating is None:
        raise PlanError("", reason="an explicit model needs a rating column", instead='rating = "..."')
    if rating_range is not None:
        refuse(not rating_range[0] < rating_range[1], "rating_range", "its least rating is below its largest")
