"""The coordinator's handlers: thin, one line each."""

import time
from collections.abc import AsyncIterator

from mpc import __version__
from mpc.keys.manifest import Manifest
from mpc.parties import Role
from mpc.runtime.server import Handler
from mpc.runtime.tls import Caller
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from servers.coordinator.hub import Hub
from servers.coordinator.scoring import Scorings

__all__ = ["handlers"]


def handlers(hub: Hub, manifest: Manifest, scorings: Scorings) -> dict[str, Handler]:
    """The methods of `mpc.wire.v1.Coordinator`."""

    async def describe(caller: Caller, _message: m.DescribeRequest) -> m.Description:
        return m.Description(
            wire_version=WIRE_VERSION,
            software=__version__,
            room=manifest.room,
            member=manifest.coordinator.name,
            role="coordinator",
            key_exchange=caller.key_exchange,
            clock_us=time.time_ns() // 1000,
        )

    async def submit(caller: Caller, message: m.SubmitRequest) -> m.Acknowledgement:
        return await hub.submit(caller.member.name, message)

    def watch(caller: Caller, message: m.WatchRequest) -> AsyncIterator[m.JobEvent]:
        return hub.watch(caller.member.name, message)

    def fetch(caller: Caller, message: m.JobReference) -> AsyncIterator[m.ResultFrame]:
        return hub.fetch(caller.member.name, message)

    async def cancel(caller: Caller, message: m.JobReference) -> m.Acknowledgement:
        if scorings.cancel(caller.member.name, message.job):
            return m.Acknowledgement(job=message.job)
        return await hub.cancel(caller.member.name, message)

    async def jobs(caller: Caller, message: m.ListRequest) -> m.JobList:
        return await hub.list(caller.member.name, message)

    async def survey(caller: Caller, message: m.DescribeRequest) -> m.SurveyReply:
        return await hub.survey(message, only=caller.member.name if caller.member.role is Role.PARTY else None)

    async def catalogues(caller: Caller, message: m.CataloguesRequest) -> m.CatalogueList:
        return await scorings.catalogues(caller.member.name, message)

    def labels(caller: Caller, message: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        return scorings.labels(caller.member.name, message)

    def score(caller: Caller, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        return scorings.score(caller.member.name, frames)

    return {
        "Describe": describe,
        "Submit": submit,
        "Watch": watch,
        "Fetch": fetch,
        "Cancel": cancel,
        "List": jobs,
        "Survey": survey,
        "Catalogues": catalogues,
        "Labels": labels,
        "Score": score,
    }
