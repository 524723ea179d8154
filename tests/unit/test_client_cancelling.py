"""Giving a job up: whoever does so gets their own cancellation back, whatever the coordinator says to it."""

import asyncio
from types import SimpleNamespace

import pytest

from mpc.client.jobs import PreparedJob
from mpc.errors import TransportError
from mpc.runtime.clock import SystemClock
from mpc.wire.job import JobKind


class Away:
    """A coordinator that takes a job and is gone when it is told to end it."""

    def __init__(self, *, cancel_hangs=False):
        self.told, self.hangs = [], cancel_hangs

    async def submit(self, _request):
        await asyncio.Event().wait()

    async def cancel(self, reference):
        self.told.append(reference.job)
        if self.hangs:
            await asyncio.Event().wait()
        raise TransportError("", member="hub", reason="no answer in time")


def prepared(destroyed):
    request = SimpleNamespace(job="ab" * 16, kind=JobKind.SQL)
    secret = SimpleNamespace(destroy=lambda: destroyed.append(True))
    return PreparedJob(
        manifest=None, name="ana", request=request, signed=b"", public=SimpleNamespace(data=b""), secret=secret,
        sealing=None, clock=SystemClock(),
    )  # fmt: skip


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_time_that_runs_out_is_a_timeout_though_the_coordinator_is_away(monkeypatch, hangs):
    monkeypatch.setattr("mpc.client.jobs._LAST_WORD_S", 0.1)
    peer, destroyed = Away(cancel_hangs=hangs), []
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await prepared(destroyed).run(peer, None)

    assert peer.told == ["ab" * 16]
    assert destroyed == [True]
    assert asyncio.all_tasks() == before
