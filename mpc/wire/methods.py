"""Every method of both services: shapes, limits, deadlines, and which role may call it. What is not here is denied."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mpc.parties import Role
from mpc.wire import messages as m
from mpc.wire.limits import MAX_FRAME_BYTES, MAX_REQUEST_BYTES

__all__ = ["COORDINATOR_METHODS", "PARTY_METHODS", "SERVICES", "Method"]

_SMALL: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One remote method."""

    name: str
    request: type[m.Message]
    reply: type[m.Message]
    callers: frozenset[Role]
    request_stream: bool = False
    reply_stream: bool = False
    request_limit_bytes: int = _SMALL
    reply_limit_bytes: int = _SMALL
    deadline_s: float = 30.0
    """Longest that a call may be held; streams of long jobs are bounded by the job's own deadline."""


_COORDINATOR = frozenset({Role.COORDINATOR})
_ANALYST = frozenset({Role.ANALYST})
_LONG: Final = 3600.0


def _scoring(callers: frozenset[Role], offers: type[m.Message], offers_bytes: int) -> tuple[Method, ...]:
    """Scoring, which the coordinator passes on: the same methods at both, but for whose offers."""
    return (
        Method(
            name="Catalogues",
            request=m.CataloguesRequest,
            reply=offers,
            callers=callers,
            reply_limit_bytes=offers_bytes,
            deadline_s=120,
        ),
        Method(
            name="Labels",
            request=m.LabelsRequest,
            reply=m.LabelsFrame,
            callers=callers,
            reply_stream=True,
            reply_limit_bytes=MAX_FRAME_BYTES,
            deadline_s=600,
        ),
        Method(
            name="Score",
            request=m.ScoreFrame,
            reply=m.ScoreReplyFrame,
            callers=callers,
            request_stream=True,
            reply_stream=True,
            request_limit_bytes=MAX_FRAME_BYTES,
            reply_limit_bytes=MAX_FRAME_BYTES,
            deadline_s=_LONG,
        ),
    )


_PARTY: Final = (
    Method(
        name="Describe", request=m.DescribeRequest, reply=m.Description, callers=_COORDINATOR | _ANALYST, deadline_s=10
    ),
    Method(
        name="Commit",
        request=m.CommitRequest,
        reply=m.CommitReply,
        callers=_COORDINATOR,
        request_limit_bytes=MAX_REQUEST_BYTES,
        deadline_s=120,
    ),
    Method(
        name="Begin",
        request=m.BeginRequest,
        reply=m.RoundOffer,
        callers=_COORDINATOR,
        request_limit_bytes=MAX_REQUEST_BYTES,
        deadline_s=_LONG,
    ),
    Method(
        name="OfferKey",
        request=m.OfferKeyRequest,
        reply=m.OfferKeyReply,
        callers=_COORDINATOR,
        reply_limit_bytes=MAX_REQUEST_BYTES,
        deadline_s=120,
    ),
    Method(
        name="Contribute",
        request=m.ContributeRequest,
        reply=m.ContributionFrame,
        callers=_COORDINATOR,
        reply_stream=True,
        request_limit_bytes=MAX_REQUEST_BYTES,
        reply_limit_bytes=MAX_FRAME_BYTES,
        deadline_s=_LONG,
    ),
    Method(
        name="Deliver",
        request=m.DeliverFrame,
        reply=m.RoundOffer,
        callers=_COORDINATOR,
        request_stream=True,
        request_limit_bytes=MAX_FRAME_BYTES,
        deadline_s=_LONG,
    ),
    Method(
        name="Collect",
        request=m.CollectRequest,
        reply=m.SealedFrame,
        callers=_COORDINATOR,
        reply_stream=True,
        reply_limit_bytes=MAX_FRAME_BYTES,
        deadline_s=_LONG,
    ),
    Method(name="Cancel", request=m.JobReference, reply=m.Acknowledgement, callers=_COORDINATOR, deadline_s=10),
    *_scoring(_COORDINATOR, m.CatalogueOffers, MAX_REQUEST_BYTES // 4),
)

_HUB: Final = (
    Method(
        name="Describe",
        request=m.DescribeRequest,
        reply=m.Description,
        callers=_ANALYST | frozenset({Role.PARTY, Role.AUDITOR}),
        deadline_s=10,
    ),
    Method(
        name="Submit",
        request=m.SubmitRequest,
        reply=m.Acknowledgement,
        callers=_ANALYST,
        request_limit_bytes=MAX_REQUEST_BYTES,
    ),
    Method(
        name="Watch",
        request=m.WatchRequest,
        reply=m.JobEvent,
        callers=_ANALYST,
        reply_stream=True,
        deadline_s=_LONG,
        reply_limit_bytes=MAX_REQUEST_BYTES,
    ),
    Method(
        name="Fetch",
        request=m.JobReference,
        reply=m.ResultFrame,
        callers=_ANALYST,
        reply_stream=True,
        reply_limit_bytes=MAX_REQUEST_BYTES,
        deadline_s=_LONG,
    ),
    Method(name="Cancel", request=m.JobReference, reply=m.Acknowledgement, callers=_ANALYST, deadline_s=10),
    Method(name="List", request=m.ListRequest, reply=m.JobList, callers=_ANALYST, reply_limit_bytes=MAX_REQUEST_BYTES),
    Method(
        name="Survey",
        request=m.DescribeRequest,
        reply=m.SurveyReply,
        callers=_ANALYST | frozenset({Role.PARTY}),  # a party learns how it is reached itself, and of nobody else
        reply_limit_bytes=MAX_REQUEST_BYTES,
    ),
    *_scoring(_ANALYST, m.CatalogueList, MAX_REQUEST_BYTES),
)

PARTY_METHODS: Final[Mapping[str, Method]] = MappingProxyType({x.name: x for x in _PARTY})
COORDINATOR_METHODS: Final[Mapping[str, Method]] = MappingProxyType({x.name: x for x in _HUB})
SERVICES: Final[Mapping[str, Mapping[str, Method]]] = MappingProxyType(
    {"mpc.wire.v1.Party": PARTY_METHODS, "mpc.wire.v1.Coordinator": COORDINATOR_METHODS}
)
"""Full service name -> its methods."""
