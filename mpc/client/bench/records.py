"""What a run writes down: rows that can stand alone, and the run around them. JSON is `Results` as it is.

Units are in the names. Everything a reader needs in order to distrust a figure is in its row: parameter set, security,
threads, clock, spread, commit, processor, and how far the calibration loop moved while it was measured.
"""

from typing import Annotated, Final

import msgspec

from mpc.errors import ConfigurationError

__all__ = ["FORMAT", "Calibration", "Machine", "Results", "Row", "Skipped", "Timing", "Wire", "dump", "load"]

FORMAT: Final = "sealroom-bench/1"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one thing, in seconds for one run of it."""

    cold_s: float
    """The first run in this process after preparation: code that is compiled or loaded on first use is in it."""

    median_s: float
    low_s: float
    """Lower quartile of the warm samples."""

    high_s: float
    """Upper quartile of the warm samples."""

    least_s: float
    samples: int
    runs_per_sample: int
    """How many runs one sample is the mean of."""

    @property
    def spread(self) -> float:
        """Distance of the quartiles relative to the median."""
        return (self.high_s - self.low_s) / self.median_s if self.median_s else 0.0


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one run's ciphertexts, or of the key where a key is made; framing, signatures and TLS come on top."""

    up_bytes: int = 0
    """From all data owners to the coordinator."""

    down_bytes: int = 0
    """To whoever opens the result."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measured case."""

    path: str
    group: str
    clock: str
    """`cpu`: processor time of this process, which time-slicing does not touch; `wall`: elapsed time."""

    timing: Timing
    twins: dict[str, Timing]
    """The same work in the clear, measured alternately with the case, by name."""

    ratios: dict[str, float]
    """Median of the case over the median of the twin, by twin."""

    values: int
    """Numbers that one run protects."""

    ns_per_value: float
    bytes_per_value: float
    """Upload bytes for one value of one data owner."""

    wire: Wire
    phases: dict[str, float]
    """Median seconds of the parts of one run."""

    figures: dict[str, float]
    """Other medians, units in their names: what the planner predicted, rounds of a training."""

    labels: dict[str, str | int | float]
    """Coordinates of the case: operation, length, parties, rows, groups, delay, bandwidth."""

    scheme: str
    parameter_set: str
    security_bits: int
    payload_bits: int
    """Bits of information that one value may carry; 0 where it has no meaning."""

    threads: int
    peak_bytes: int
    """Most memory that one run needed beyond what was resident before it; 0 where the system does not tell."""

    drift: float
    """How far the calibration loop moved beside this row."""

    commit: str
    cpu: str
    """Model and the instruction sets that matter here."""

    notes: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A case that gave no row, and why."""

    path: str
    reason: str
    failed: bool
    """Whether it should have given one: a wrong answer or an error, rather than something that is not installed."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it ran."""

    cpu_model: str
    cpu_flags: tuple[str, ...]
    """The instruction sets that the kernels here can use, as the processor reports them."""

    cores: int
    memory_bytes: int
    system: str
    python: str
    commit: str
    dirty: bool
    """Whether the checkout differed from the commit."""

    load_average: float
    """One minute, at the start."""

    versions: dict[str, str]
    settings: dict[str, str] = {}
    """What was set that changes figures: environment variables, and the planner's constants where they are not the
    reference machine's."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The loop that is the same work every time: 2048-bit modular power, 1024-bit exponent."""

    limit: float
    """Largest drift that the run accepts."""

    cpu_reference_s: Annotated[float, msgspec.Meta(gt=0)]
    wall_reference_s: Annotated[float, msgspec.Meta(gt=0)]
    worst: float
    """Largest drift beside any row."""

    repeated: int
    """Cases that were measured again because the loop moved beside them."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the suite."""

    format: str = FORMAT
    level: str
    only: tuple[str, ...]
    started: str
    seconds: float
    machine: Machine
    calibration: Calibration
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]


def dump(results: Results) -> bytes:
    """The run as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1)


def load(data: bytes, *, name: str) -> Results:
    """Read a run.

    Args:
        data: JSON as `dump` or `sealroom bench --json` wrote it.
        name: Name of the file, for the error.

    Raises:
        ConfigurationError: It is not a run of this format.
    """
    try:
        results = msgspec.json.decode(data, type=Results)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(str(error), file=name, reason="it is not a result of sealroom bench") from None
    if results.format != FORMAT:
        raise ConfigurationError("", file=name, reason=f"its format is {results.format[:40]}, not {FORMAT}")
    return results
