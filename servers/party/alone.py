"""What this owner reaches alone: the same training over its own rows, measured on its own hold-out. Nothing is sent.

    python -m servers.party.alone --config north/party.toml --spec shop.toml

Read-only for the rest of the room: no key is used, no policy asked, no job made. Beside a joint training's quality it
is the reason to take part, or not to.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mpc.errors import ConfigurationError, MpcError, PlanError
from mpc.keys.dictionary import Dictionary
from mpc.keys.manifest import SignedManifest
from mpc.learn import FittedModel, complete, evaluate, program, spec_from_mapping
from mpc.learn.digest import training_digest
from mpc.learn.union import union_program
from mpc.primitives import run_ideal
from servers.party.__main__ import absolute_sources
from servers.party.config import PartyConfig, load_config
from servers.party.programs import typed_source
from servers.party.sources.opening import open_source
from servers.party.training import SourceRows

__all__ = ["alone", "main"]


def alone(config: PartyConfig, dictionary: Dictionary, mapping: Mapping[str, Any]) -> tuple[FittedModel, Any]:
    """Train a spec on this party's rows; the model and its quality (None without a hold-out).

    Raises:
        PlanError: The spec does not fit the room's tables, or names an owner's function.
        ConfigurationError: This party has no source with the table.
    """
    spec = spec_from_mapping(mapping)
    table = dictionary.table(str(spec.table))
    if table is None:
        raise PlanError("", reason="the training spec names no table of the room")
    completed = complete(spec, table)
    folded = table.name.lower()
    found = next((s for s in config.sources.values() if any(t.lower() == folded for t in s.tables)), None)
    if found is None:
        raise ConfigurationError(f"no source of {config.name} holds the table {table.name}")
    source = open_source(typed_source(found, dictionary), config.limits)
    try:
        source.snapshot()
        rows = SourceRows(source, table.name)
        discovery = union_program(training_digest(completed))
        model = run_ideal([program(completed, rows, parties=1, discovery=discovery)])[0]
        held = getattr(completed, "holdout", None) is not None
        return model, run_ideal([evaluate(model, completed, rows)])[0] if held else None
    finally:
        source.close()


def main() -> int:
    """Print the quality as one line of JSON."""
    parser = argparse.ArgumentParser(prog="sealroom party alone")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--spec", type=Path, required=True)
    told = parser.parse_args()
    path = told.config.resolve()
    try:
        config = absolute_sources(load_config(path), path.parent)
        manifest = SignedManifest.load(path.parent / config.manifest).verify()
        text = told.spec.read_text(encoding="utf-8")
        mapping = json.loads(text) if told.spec.suffix == ".json" else tomllib.loads(text)
        model, quality = alone(config, manifest.dictionary, mapping)
    except (OSError, ValueError) as error:
        print(f"{told.spec} is not a training spec: {error}", file=sys.stderr)  # noqa: T201 - the result of a command
        return ConfigurationError.exit_code
    except MpcError as error:
        print(f"{error.code} {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    told_quality = None if quality is None else msgspec.to_builtins(quality, str_keys=True)
    print(json.dumps({"party": config.name, "model": model.explain(), "quality": told_quality}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
