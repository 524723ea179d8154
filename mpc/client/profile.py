"""Where an analyst's name, keys and room are: a folder with `analyst.toml`."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mpc.errors import ConfigurationError
from mpc.keys.files import KeyFolder
from mpc.keys.manifest import Manifest, SignedManifest
from mpc.parties import Role
from mpc.runtime.settings import read_settings

__all__ = ["Profile", "find_profile"]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of `analyst.toml`. Paths are relative to it."""

    name: str
    manifest: str = "room.toml"
    keys: str = "keys"


@dataclass(frozen=True, slots=True)
class Profile:
    """An analyst in a room."""

    name: str
    manifest: Manifest
    keys: KeyFolder

    @classmethod
    def load(cls, folder: Path) -> "Profile":
        """Read a profile folder and verify its room.

        Raises:
            ConfigurationError: A file is missing or wrong, or the room does not know this analyst.
            IntegrityError: The manifest is not signed by every member.
        """
        path = folder / "analyst.toml"
        file = read_settings(path, _File)
        manifest = SignedManifest.load(folder / file.manifest).verify()
        keys = KeyFolder.at(folder / file.keys)
        me = manifest.member(file.name)
        if me is None or me.role is not Role.ANALYST or me.public_key != keys.identity().public:
            raise ConfigurationError(f"{file.name} is not an analyst of the room under this key")
        return cls(file.name, manifest, keys)


def find_profile(room: str | os.PathLike[str] | None = None) -> Path:
    """The profile folder of a room: a path, or a name under the configuration folder, or `SEALROOM_ROOM`.

    Raises:
        ConfigurationError: There is none.
    """
    named = room if room is not None else os.environ.get("SEALROOM_ROOM")
    if named is None:
        raise ConfigurationError("no room is named: give --room, or set SEALROOM_ROOM")
    base = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "sealroom"
    for candidate in (Path(named), base / Path(named).name):
        if (candidate / "analyst.toml").is_file():
            return candidate
    raise ConfigurationError(f"{named}: there is no analyst.toml in that folder or under {base}")
