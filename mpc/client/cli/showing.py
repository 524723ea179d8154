"""`sealroom demo`."""

import typer

from mpc.client.cli.terminal import JsonFlag

__all__ = ["demo"]


def demo(context: typer.Context, *, _json: JsonFlag = False) -> None:
    """Run three retailers, a coordinator and an analyst on this machine, and check their answers."""
