"""`[catalogues.NAME]` and `[scoring]` of `party.toml`: where item vectors come from, and what answering may use."""

from enum import StrEnum

import msgspec

from mpc.errors import ConfigurationError
from mpc.score.spec import Measure

__all__ = ["CatalogueSpec", "Metric", "ScoringLimits"]


class Metric(StrEnum):
    """What a score is, as owners write it."""

    COSINE = "cosine"
    INNER = "inner"

    @property
    def measure(self) -> Measure:
        """The same in a public spec."""
        return Measure.COSINE if self is Metric.COSINE else Measure.INNER_PRODUCT


class CatalogueSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One catalogue: exactly one of `file`, `model` and `table`."""

    file: str = ""
    """An `.npy` matrix, or an `.npz` with `vectors` and perhaps `items` (the labels)."""

    model: str = ""
    """A trained model: the folder that a model is kept in, or its exported `.npz`. Its item vectors are the items."""

    table: str = ""
    """A table of one of this party's sources, with `vectors` or `columns`."""

    vectors: str = ""
    """The table's column of lists of numbers (sources of files)."""

    columns: tuple[str, ...] = ()
    """Or the columns that are the vector's coordinates, in order."""

    labels: str = ""
    """The table's column of labels, distinct texts or integers; without it items are numbered from 0."""

    metric: Metric = Metric.COSINE
    query_norm: float = 1.0
    """For inner products: the largest norm of a query."""

    item_norm: float = 0.0
    """For inner products: the largest norm of an item; 0 takes the largest there is, which every analyst then sees
    rounded up to a power of two."""

    packings: tuple[int, ...] = ()
    """Dimensions per ciphertext that are offered; empty: what the cost model finds best from 10 Mbit/s to 10 Gbit/s.
    Each that is asked for takes memory of its own."""

    real: bool = False
    """Whether scores are also given on a fine grid, under `ckks`."""

    prepare: bool = True
    """Whether the catalogue is encoded when the node starts, rather than at its first use."""

    def check(self, name: str) -> None:
        """Refuse contradictions (`ConfigurationError` names the catalogue)."""
        if not name.isprintable() or not 0 < len(name) <= 64 or "/" in name:
            raise ConfigurationError(f"catalogue {name[:64]!r}: its name is a short text without slashes")
        if sum(map(bool, (self.file, self.model, self.table))) != 1:
            raise ConfigurationError(f"catalogue {name}: it has exactly one of file, model and table")
        if bool(self.table) != (bool(self.vectors) != bool(self.columns)):
            raise ConfigurationError(f"catalogue {name}: a table, and only a table, has either vectors or columns")
        if self.labels and not self.table:
            raise ConfigurationError(f"catalogue {name}: only a table has a column of labels")
        if self.query_norm <= 0 or self.item_norm < 0:
            raise ConfigurationError(f"catalogue {name}: norms are positive")


class ScoringLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What answering may use."""

    memory_bytes: int = 4 << 30
    """Memory of all encoded catalogues together; the least recently used leave first."""

    at_once: int = 2
    """Queries that are taken and computed at the same time; others wait."""

    waiting: int = 16
    """Queries that may wait."""

    message_bytes: int = 256 << 20
    """Longest query message, which is in memory as a whole."""

    def check(self) -> None:
        """Refuse limits that nothing could run under (`ConfigurationError`)."""
        if min(self.memory_bytes, self.at_once, self.message_bytes) < 1 or self.waiting < 0:
            raise ConfigurationError("scoring: limits are positive")
