"""`party.toml`: what one node needs to run. Unknown keys are errors that name the key."""

import os
from pathlib import Path

import msgspec

from mpc.errors import ConfigurationError
from mpc.runtime.operations import OperationsConfig
from mpc.runtime.settings import read_settings
from servers.party.catalogue_spec import CatalogueSpec, ScoringLimits
from servers.party.sources.spec import Limits, SourceSpec
from servers.party.trainers import TrainerSpec

__all__ = ["PartyConfig", "load_config"]


class PartyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of a party node. Paths are relative to the file."""

    name: str
    listen: str
    """`host:port` to bind."""

    manifest: str = "room.toml"
    policy: str = "policy.toml"
    keys: str = "keys"
    """Folder with `identity.key`, `root.pem`, `root.key`, and the current leaf `tls.pem`, `tls.key`."""

    state: str = "state"
    sources: dict[str, SourceSpec] = {}
    catalogues: dict[str, CatalogueSpec] = {}
    """Vectors that may be scored, by name, where the policy names them too."""

    scoring: ScoringLimits = ScoringLimits()
    limits: Limits = Limits()
    operations: OperationsConfig = OperationsConfig()
    jobs_at_once: int = 2
    worker_memory_bytes: int = 0
    """Address space of a worker; 0 leaves the sandbox's default."""

    warm: tuple[str, ...] = ("rlwe-2048-t30", "rlwe-4096-t60")
    """Parameter sets whose kernels are loaded at start; the default is what the planner prefers."""

    trainers: dict[str, TrainerSpec] = {}
    """The owner's training functions by the name under which a federated average asks for them."""

    models_kept: int = 20
    """Trained models that stay here, to be evaluated later; the oldest are forgotten."""


def load_config(path: Path) -> PartyConfig:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: Names what is wrong.
    """
    config = read_settings(path, PartyConfig)
    listen = os.environ.get("SEALROOM_LISTEN", config.listen)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535 or config.jobs_at_once < 1:
        raise ConfigurationError(f"{path.name} is not valid: listen is host:port and jobs_at_once is 1 or more")
    if config.models_kept < 0:
        raise ConfigurationError(f"{path.name} is not valid: models_kept is 0 or more")
    for name, trainer in config.trainers.items():
        trainer.check(name)
    config.limits.check()
    config.operations.check()
    config.scoring.check()
    for name, catalogue in config.catalogues.items():
        catalogue.check(name)
    return msgspec.structs.replace(config, listen=listen)
