"""A figure of the report, and what all figures share: colours and short names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mpc.client.bench.records import Results

__all__ = ["COLOURS", "PLAIN", "ROLES", "SHORT", "Figure", "source_line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with the sentence under it."""

    name: str
    svg: str
    caption: str


PLAIN: Final = "#7b8794"
COLOURS: Final[Mapping[str, str]] = {
    "insecure-clear-4096-t62": "#52606d",
    "rlwe-2048-t30": "#d9480f",
    "rlwe-4096-t60": "#e8890c",
    "bfv-4096-t40": "#1c6dd0",
    "paillier-3072-s64": "#6b3fa0",
}
SHORT: Final[Mapping[str, str]] = {
    "insecure-clear-4096-t62": "clear",
    "rlwe-2048-t30": "rlwe 2048",
    "rlwe-4096-t60": "rlwe 4096",
    "bfv-4096-t40": "bfv 4096",
    "paillier-3072-s64": "paillier 3072",
}
ROLES: Final[Mapping[str, str]] = {"party": "#d9480f", "coordinator": "#1c6dd0", "recipient": "#2b8a3e"}


def source_line(results: Results) -> str:
    """Machine and commit, for the foot of a chart."""
    machine = results.machine
    changed = "+changes" if machine.dirty else ""
    return f"{machine.cpu_model}, {machine.cores} cores · {machine.commit}{changed} · sealroom bench, {results.level}"
