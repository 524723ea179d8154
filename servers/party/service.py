"""The party's handlers: thin, one line each."""

import time
from collections.abc import AsyncIterator
from typing import Any

from mpc import __version__
from mpc.keys.manifest import Manifest
from mpc.runtime.server import Handler
from mpc.runtime.tls import Caller
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from servers.party.node import PartyNode
from servers.party.scoring import Scoring

__all__ = ["handlers"]


def handlers(node: PartyNode, manifest: Manifest, scoring: Scoring) -> dict[str, Handler]:
    """The methods of `mpc.wire.v1.Party`."""

    async def describe(caller: Caller, _message: m.DescribeRequest) -> m.Description:
        return m.Description(
            wire_version=WIRE_VERSION,
            software=__version__,
            room=manifest.room,
            member=node.name,
            role="party",
            key_exchange=caller.key_exchange,
            clock_us=time.time_ns() // 1000,
        )

    def contribute(_caller: Caller, message: m.ContributeRequest) -> AsyncIterator[m.ContributionFrame]:
        return node.contribute(message)

    def collect(_caller: Caller, message: m.CollectRequest) -> AsyncIterator[m.SealedFrame]:
        return node.collect(message)

    def labels(_caller: Caller, message: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        return scoring.labels(message)

    def score(_caller: Caller, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        return scoring.score(frames)

    def plain(method: Any) -> Handler:
        async def call(_caller: Caller, message: Any) -> Any:
            return await method(message)

        return call

    return {
        "Describe": describe,
        "Commit": plain(node.commit),
        "Begin": plain(node.begin),
        "OfferKey": plain(node.offer_key),
        "Contribute": contribute,
        "Deliver": plain(node.deliver),
        "Collect": collect,
        "Cancel": plain(node.cancel),
        "Catalogues": plain(scoring.catalogues),
        "Labels": labels,
        "Score": score,
    }
