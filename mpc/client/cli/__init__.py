"""The command line: `sealroom`. Command modules import what they need when they run, so that help is instant."""

from mpc.client.cli.main import main

__all__ = ["main"]
