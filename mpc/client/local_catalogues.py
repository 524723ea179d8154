"""Catalogues of a local room: arrays, models and tables as entries of `party.toml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ConfigurationError

if TYPE_CHECKING:
    from mpc.learn import FittedModel

__all__ = ["CatalogueData", "place_catalogue"]

CatalogueData: TypeAlias = "NDArray[Any] | FittedModel | Mapping[str, Any]"


def place_catalogue(folder: Path, name: str, data: CatalogueData) -> dict[str, Any]:
    """A catalogue's entry in `party.toml`; arrays and models are written into the party's folder.

    Raises:
        ConfigurationError: It is none of the things that can be one.
    """
    from mpc.learn import FittedModel

    target = folder / "catalogues" / name
    target.parent.mkdir(exist_ok=True)
    if isinstance(data, np.ndarray):
        data = {"vectors": data}
    if isinstance(data, FittedModel):
        data.save(target)
        return {"model": f"catalogues/{name}", "metric": "inner"}
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"catalogue {name}: it is a matrix, a model, or an entry of party.toml")
    entry = dict(data)
    if isinstance(entry.get("model"), FittedModel):
        entry.pop("model").save(target)
        return {"model": f"catalogues/{name}", "metric": "inner", **entry}
    if isinstance(entry.get("vectors"), np.ndarray):
        arrays = {key: np.asarray(entry.pop(key)) for key in ("vectors", "items") if key in entry}
        path = target.with_name(f"{name}.npz")
        with path.open("wb") as sink:
            np.savez(sink, allow_pickle=False, **arrays)
        return {"file": f"catalogues/{name}.npz", **entry}
    return entry
