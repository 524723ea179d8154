"""A room over real gRPC for the tests of the transport."""

import pytest

from tests.wire.grpc_room import COORDINATOR, PARTY, Counting, serving


@pytest.fixture
async def room():
    """Both services, their ports, and who reached what."""
    counters = {PARTY: Counting(PARTY), COORDINATOR: Counting(COORDINATOR)}
    async with serving(*((s, c.handlers()) for s, c in counters.items())) as ports:
        yield counters, dict(zip(counters, ports, strict=True))
