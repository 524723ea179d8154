"""Reading a file that a person wrote, so that whatever is wrong with it is a sentence with its name."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from mpc.errors import ConfigurationError

__all__ = ["read_settings"]

T = TypeVar("T")


def read_settings(path: Path, kind: type[T], what: str = "valid") -> T:
    """Read a TOML file as a strict structure; a byte order mark, which some editors write, is no part of it.

    Args:
        path: The file.
        kind: What it must convert to.
        what: What the file is not, if it does not.

    Raises:
        ConfigurationError: Names the file and what is wrong.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), kind)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not {what}: it is not a text in UTF-8") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is not {what}: it is nested too deeply") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path} is not {what}: {error}") from None
