"""What an analyst types: `connect`, `LocalRoom`, and the client they give."""

from mpc.client.answer import Answer, Report
from mpc.client.client import Client, connect
from mpc.client.local import LocalRoom

__all__ = ["Answer", "Client", "LocalRoom", "Report", "connect"]
