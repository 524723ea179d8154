"""All cases by path, and the choice among them."""

from collections.abc import Callable, Iterator
from typing import Final

from mpc.client.bench import arithmetic, ckks, micro, planning, queries, room_scoring, scoring, sums, training
from mpc.client.bench.cases import Case, Level
from mpc.client.bench.peers import rounds
from mpc.errors import ConfigurationError

__all__ = ["SECTIONS", "select"]

SECTIONS: Final[dict[str, Callable[[Level], Iterator[Case]]]] = {
    "micro/schemes": micro.scheme_cases,
    "micro/masks": micro.mask_cases,
    "micro/ckks": ckks.ckks_cases,
    "micro/arithmetic": arithmetic.arithmetic_cases,
    "protocols/sum": sums.sum_cases,
    "protocols/sum-grpc": queries.loopback_cases,
    "protocols/sum-wan": queries.line_cases,
    "protocols/score": scoring.score_cases,
    "protocols/score-insecure": room_scoring.insecure_cases,
    "protocols/score-room": room_scoring.room_cases,
    "queries": queries.query_cases,
    "learn": training.training_cases,
    "planner": planning.planner_cases,
    "peers": rounds.peer_cases,
}
"""Leading path -> its cases, in the order they run."""


def select(level: Level, only: tuple[str, ...] = (), *, peers: bool = False) -> list[Case]:
    """The cases of a level under some leading paths.

    Args:
        level: How much is measured.
        only: Leading paths, for example `micro/schemes/rlwe-2048-t30`; empty for all.
        peers: Whether the peers' libraries take part when they are not named in `only`.

    Raises:
        ConfigurationError: A path selects nothing.
    """
    every = [case for section in SECTIONS.values() for case in section(level)]
    for path in only:
        if not any(case.selected((path,)) for case in every):
            known = ", ".join(SECTIONS)
            raise ConfigurationError("", reason=f"--only {path} selects nothing", instead=f"a path under {known}")
    if only:
        return [case for case in every if case.selected(only)]
    return [case for case in every if peers or not case.path.startswith("peers/")]
