"""From an owner's configuration and policy to what is offered: the items, the public specs, the limits."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.entropy import SystemEntropy
from mpc.errors import ConfigurationError, ParameterError, SourceError
from mpc.learn import load_model
from mpc.policy import CatalogueRule
from mpc.score.budget import QueryLimit
from mpc.score.catalogue import Catalogue, Subset, catalogue_from_arrays, catalogue_from_file
from mpc.score.packing import ScoringRequest, choose_packing
from mpc.score.real_spec import RealScorePlan, finest_real_spec
from mpc.score.spec import Measure, ScorePlan
from mpc.wire.scoring import CatalogueLabels, labels_digest
from servers.party.catalogue_spec import CatalogueSpec
from servers.party.catalogue_table import CatalogueBatch, CatalogueTask, find_table
from servers.party.frames import Operation
from servers.party.pool import Worker
from servers.party.sources.spec import Limits, SourceSpec

__all__ = ["Offered", "TableReader", "load_catalogue", "offer", "worker_reader"]

log = logging.getLogger(__name__)

_BANDWIDTHS: Final = (1e7, 1e8, 1e9, 1e10)
_MOST_LABEL_BYTES: Final = 1 << 30

TableReader = Callable[[CatalogueTask], Any]
"""A task to its batches, asynchronously; `worker_reader` in a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One catalogue as this party offers it."""

    catalogue: Catalogue = field(repr=False)
    rule: CatalogueRule
    plans: Mapping[bytes, ScorePlan]
    """By the digest of the spec; the first is the one that is prepared ahead."""

    real: RealScorePlan | None
    limit: QueryLimit
    labels: bytes = field(default=b"", repr=False)
    """Encoded, where the policy lets them be told."""

    labels_digest: bytes = b""


async def worker_reader(task: CatalogueTask, *, memory_bytes: int, node: str) -> list[CatalogueBatch]:
    """Read a table in a worker of its own, which ends afterwards."""
    worker = await Worker.start(memory_bytes=memory_bytes, warm=(), threads=task.limits.threads, node=node)
    try:
        return [
            msgspec.msgpack.decode(raw, type=CatalogueBatch)
            async for last, raw in worker.stream(Operation.TABLE, task)
            if not last
        ]
    finally:
        await worker.stop()


async def load_catalogue(
    name: str,
    spec: CatalogueSpec,
    rule: CatalogueRule,
    *,
    base: Path,
    sources: dict[str, SourceSpec],
    limits: Limits,
    reader: TableReader,
) -> Catalogue:
    """The items that the policy lets be scored.

    Raises:
        SourceError: The vectors cannot be read.
        ConfigurationError: Configuration or policy contradict the data.
    """
    if rule.where and not spec.table:
        raise ConfigurationError(f"catalogue {name}: `where` is for catalogues of a table")
    if spec.table:
        source, table = find_table(sources, spec.table, name)
        task = CatalogueTask(
            source=source,
            table=table,
            vectors=spec.vectors,
            columns=spec.columns,
            labels=spec.labels,
            where=rule.where,
            limits=limits,
        )
        whole = _joined(name, await reader(task))
    else:
        whole = await asyncio.to_thread(_from_files, name, spec, base)
    only = rule.only
    if rule.only_file:
        listed = (base / rule.only_file).read_text(encoding="utf-8").splitlines()
        text = whole.labels.dtype.kind == "U"
        only = (*(only or ()), *(line if text else int(line) for line in listed if line))
    return await asyncio.to_thread(Subset(only=only, never=rule.never, most=rule.most).apply, whole)


def _from_files(name: str, spec: CatalogueSpec, base: Path) -> Catalogue:
    if spec.file:
        return catalogue_from_file(name, base / spec.file)
    path = base / spec.model
    if path.is_dir():
        return catalogue_from_arrays(name, load_model(path).arrays())
    return catalogue_from_file(name, path)


def _joined(name: str, batches: list[CatalogueBatch]) -> Catalogue:
    widths = {batch.dimensions for batch in batches}
    if len(widths) != 1:
        raise SourceError("", reason="the table has no item, or vectors of several lengths")
    (width,) = widths
    parts = [np.frombuffer(b.vectors, dtype=b.dtype).reshape(-1, width) for b in batches]
    vectors: NDArray[Any] = np.concatenate(parts)
    labels = [one for b in batches for one in b.labels or ()]
    named = np.array(labels) if labels else np.arange(len(vectors))
    return Catalogue(name=name, vectors=vectors, labels=named)


def offer(name: str, spec: CatalogueSpec, rule: CatalogueRule, catalogue: Catalogue) -> Offered:
    """The specs, limits and labels of a catalogue.

    Raises:
        ConfigurationError: The limit would give items away.
        ParameterError: No parameter set has room for these scores.
    """
    plans = _plans(spec, catalogue)
    every = list(plans.values())
    real = None
    if spec.real:
        first = every[0].spec
        real = finest_real_spec(
            catalogue=name,
            rows=first.rows,
            dimensions=first.dimensions,
            measure=first.measure,
            query_norm=first.query_norm,
            item_norm=first.item_norm,
        ).compile()
    known = min(catalogue.dimensions, *(plan.malicious_queries for plan in (*every, *((real,) if real else ()))))
    per_client = max(1, known // 2) if rule.queries_per_analyst is None else rule.queries_per_analyst
    limit = QueryLimit(per_client=per_client, all_clients=rule.queries_of_all_analysts)
    limit.check(catalogue.dimensions)
    if per_client >= known:
        log.warning("catalogue %s: an analyst who breaks the rules may know items after %d queries", name, known)
    labels = _encoded_labels(catalogue) if rule.labels and not _numbered(catalogue) else b""
    if len(labels) > _MOST_LABEL_BYTES:
        raise ConfigurationError(f"catalogue {name}: its labels are too long to be told")
    return Offered(
        catalogue=catalogue,
        rule=rule,
        plans=plans,
        real=real,
        limit=limit,
        labels=labels,
        labels_digest=labels_digest(labels) if labels else b"",
    )


def _encoded_labels(catalogue: Catalogue) -> bytes:
    return msgspec.msgpack.encode(CatalogueLabels(salt=SystemEntropy().token(32), labels=catalogue.labels.tolist()))


def _numbered(catalogue: Catalogue) -> bool:
    """Whether the labels are the rows' numbers, so that there is nothing to tell."""
    return bool(np.array_equal(catalogue.labels, np.arange(catalogue.rows)))


def _plans(spec: CatalogueSpec, catalogue: Catalogue) -> dict[bytes, ScorePlan]:
    inner = spec.metric.measure is Measure.INNER_PRODUCT
    item_norm = (spec.item_norm or catalogue.largest_norm() or 1.0) if inner else 1.0
    wanted = ScoringRequest(
        catalogue=catalogue.name,
        rows=catalogue.rows,
        dimensions=catalogue.dimensions,
        bandwidth_bits_s=_BANDWIDTHS[-1],
        measure=spec.metric.measure,
        query_norm=spec.query_norm if inner else 1.0,
        item_norm=item_norm,
    )
    if spec.packings:
        specs = [wanted.finest(width) for width in spec.packings]
    else:
        asked = (replace(wanted, bandwidth_bits_s=bandwidth) for bandwidth in reversed(_BANDWIDTHS))
        specs = list(dict.fromkeys(choose_packing(request).spec for request in asked))
    if not specs:
        raise ParameterError("no packing has room for these scores")
    return {one.digest(): one.compile() for one in specs}
