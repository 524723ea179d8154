"""The machine's cost constants: a file that `sealroom bench --calibrate` writes and the planner reads.

    format = "sealroom-costs/1"
    machine = "..."            where they were measured
    commit = "..."
    measured_at = "..."
    mask_ns = 5.1              one pair's mask, per slot
    packing_ns = 14.0          limbs, digests and copies, per slot
    job_s = 0.07               what a job takes beside its sums
    sum_s = 0.01               what a sum takes beside arithmetic and bytes
    [schemes.rlwe]             per slot and prime; key_s is all that is paid once per key
    encrypt_ns = 14.0
    add_ns = 4.0
    decrypt_ns = 8.0
    key_s = 0.002

The file lies at `$SEALROOM_COSTS`, else `$XDG_CONFIG_HOME/sealroom/costs.toml`, else `~/.config/sealroom/costs.toml`.
Where there is none, the constants of the reference machine hold (`mpc.plan.cost`). The constants choose among parameter
sets of equal security and predict; they change no answer.
"""

import math
import os
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import tomli_w

from mpc.errors import ConfigurationError
from mpc.params import SchemeId
from mpc.plan.cost import DEFAULT_MODEL, CostModel, Line, SchemeCost

__all__ = [
    "COSTS_VARIABLE",
    "CostConstants",
    "SchemeConstants",
    "calibrated_model",
    "constants_path",
    "read_constants",
    "write_constants",
]

FORMAT: Final = "sealroom-costs/1"
COSTS_VARIABLE: Final = "SEALROOM_COSTS"
_LARGEST: Final = 1e12


class SchemeConstants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time of one scheme's operations, per plaintext slot and prime."""

    encrypt_ns: float
    add_ns: float
    decrypt_ns: float
    key_s: float
    """Making a key pair, and whatever each role does once per key."""


class CostConstants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file."""

    format: str = FORMAT
    machine: str
    commit: str
    measured_at: str
    mask_ns: float
    packing_ns: float
    job_s: float
    sum_s: float
    schemes: dict[str, SchemeConstants]

    def check(self) -> None:
        """Refuse constants that no machine has (`ConfigurationError`)."""
        if self.format != FORMAT:
            raise ConfigurationError("", reason=f"its format is not {FORMAT}", instead="sealroom bench --calibrate")
        unknown = set(self.schemes) - {s.value for s in SchemeId}
        if unknown:
            raise ConfigurationError("", reason=f"there is no scheme {min(unknown)[:40]}")
        numbers = [self.mask_ns, self.packing_ns, self.job_s, self.sum_s]
        for costs in self.schemes.values():
            numbers += [costs.encrypt_ns, costs.add_ns, costs.decrypt_ns, costs.key_s]
        if not all(math.isfinite(n) and 0.0 <= n <= _LARGEST for n in numbers):
            raise ConfigurationError("", reason="a cost is not a finite number that is zero or more")

    def model(self, line: Line | None = None) -> CostModel:
        """The cost model over a stated line; schemes that were not measured keep the reference machine's costs."""
        measured = {
            SchemeId(name): SchemeCost(encrypt_ns=c.encrypt_ns, add_ns=c.add_ns, decrypt_ns=c.decrypt_ns, key_s=c.key_s)
            for name, c in self.schemes.items()
        }
        return CostModel(
            schemes=MappingProxyType({**DEFAULT_MODEL.schemes, **measured}),
            mask_ns=self.mask_ns,
            packing_ns=self.packing_ns,
            job_s=self.job_s,
            sum_s=self.sum_s,
            line=line or Line(),
        )


def constants_path() -> Path:
    """Where the file lies or would lie."""
    if chosen := os.environ.get(COSTS_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sealroom" / "costs.toml"


def read_constants(path: Path) -> CostConstants:
    """Read a file of constants.

    Raises:
        ConfigurationError: It cannot be read, or is not such a file.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=CostConstants)
        found.check()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        reason = "it is not a file of cost constants"
        raise ConfigurationError(str(error), file=path.name, reason=reason) from None
    except ConfigurationError as error:
        raise ConfigurationError(error.detail, file=path.name, **error.fields) from None
    return found


def write_constants(path: Path, constants: CostConstants) -> None:
    """Write a file of constants whole or not at all."""
    constants.check()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = tomli_w.dumps(msgspec.to_builtins(constants))
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def calibrated_model(line: Line | None = None) -> CostModel:
    """The cost model to plan with: this machine's if it was calibrated, else the reference machine's.

    Args:
        line: The line of each member to the coordinator; a local network if not stated.

    Raises:
        ConfigurationError: There is a file, and it is not in order.
    """
    path = constants_path()
    return read_constants(path).model(line) if path.exists() else CostModel(line=line or Line())
