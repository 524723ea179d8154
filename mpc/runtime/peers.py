"""What the coordinator may ask of a party, and an analyst of the coordinator, whatever the transport."""

from collections.abc import AsyncIterator
from typing import Final, Protocol

from mpc.wire import messages as m

__all__ = ["STATUS_LOST", "CoordinatorPeer", "PartyPeer"]

STATUS_LOST: Final = "it ended the call while it was sent to"
"""The `reason` of a `TransportError` whose true cause the peer gave and the transport lost: who can ask again does."""


class PartyPeer(Protocol):
    """A party as the coordinator sees it: the methods of `mpc.wire.v1.Party`."""

    async def describe(self, request: m.DescribeRequest) -> m.Description:
        """What it is."""
        ...

    async def commit(self, request: m.CommitRequest) -> m.CommitReply:
        """Its promise to take part."""
        ...

    async def begin(self, request: m.BeginRequest) -> m.RoundOffer:
        """Its first round."""
        ...

    async def offer_key(self, request: m.OfferKeyRequest) -> m.OfferKeyReply:
        """A group key."""
        ...

    def contribute(self, request: m.ContributeRequest) -> AsyncIterator[m.ContributionFrame]:
        """Its ciphertexts."""
        ...

    async def deliver(self, frames: AsyncIterator[m.DeliverFrame]) -> m.RoundOffer:
        """Give it a round's sum, and get its next round."""
        ...

    def collect(self, request: m.CollectRequest) -> AsyncIterator[m.SealedFrame]:
        """What it sealed to the analyst."""
        ...

    async def cancel(self, request: m.JobReference) -> m.Acknowledgement:
        """End a job."""
        ...

    async def catalogues(self, request: m.CataloguesRequest) -> m.CatalogueOffers:
        """What it offers to be scored."""
        ...

    def labels(self, request: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """Sealed labels of a catalogue's items."""
        ...

    def score(self, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """Give it encrypted queries, and get its reply."""
        ...


class CoordinatorPeer(Protocol):
    """The coordinator as an analyst sees it: the methods of `mpc.wire.v1.Coordinator`."""

    async def describe(self, request: m.DescribeRequest) -> m.Description:
        """What it is."""
        ...

    async def submit(self, request: m.SubmitRequest) -> m.Acknowledgement:
        """Start a job."""
        ...

    def watch(self, request: m.WatchRequest) -> AsyncIterator[m.JobEvent]:
        """Events of a job."""
        ...

    def fetch(self, request: m.JobReference) -> AsyncIterator[m.ResultFrame]:
        """The result of a job."""
        ...

    async def cancel(self, request: m.JobReference) -> m.Acknowledgement:
        """End a job."""
        ...

    async def list(self, request: m.ListRequest) -> m.JobList:
        """The caller's jobs."""
        ...

    async def survey(self, request: m.DescribeRequest) -> m.SurveyReply:
        """Ask every party whether it answers."""
        ...

    async def catalogues(self, request: m.CataloguesRequest) -> m.CatalogueList:
        """What every party offers to be scored."""
        ...

    def labels(self, request: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """Sealed labels of a catalogue's items."""
        ...

    def score(self, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """Have encrypted queries answered by their holder."""
        ...
