"""`coordinator.toml`: what the coordinator needs to run. Unknown keys are errors that name the key."""

import os
from pathlib import Path

import msgspec

from mpc.errors import ConfigurationError
from mpc.runtime.operations import OperationsConfig
from mpc.runtime.settings import read_settings

__all__ = ["CoordinatorConfig", "load_config"]


class CoordinatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of the coordinator. Paths are relative to the file."""

    name: str
    listen: str
    """`host:port` to bind."""

    manifest: str = "room.toml"
    keys: str = "keys"
    state: str = "state"
    operations: OperationsConfig = OperationsConfig()
    jobs_at_once: int = 8
    """Jobs that work together; each party has a limit of its own."""

    jobs_waiting: int = 64
    """Jobs that wait for their turn; what comes beyond is refused."""

    warm: tuple[str, ...] = ("rlwe-2048-t30", "rlwe-4096-t60")
    """Parameter sets whose kernels are loaded in the background at start; the default is what the planner prefers."""


def load_config(path: Path) -> CoordinatorConfig:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: Names what is wrong.
    """
    config = read_settings(path, CoordinatorConfig)
    listen = os.environ.get("SEALROOM_LISTEN", config.listen)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535 or config.jobs_at_once < 1:
        raise ConfigurationError(f"{path.name} is not valid: listen is host:port and jobs_at_once is 1 or more")
    if config.jobs_waiting < 0:
        raise ConfigurationError(f"{path.name} is not valid: jobs_waiting is 0 or more")
    config.operations.check()
    return msgspec.structs.replace(config, listen=listen)
