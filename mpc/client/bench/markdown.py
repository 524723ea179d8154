"""The README's page `What encryption costs`, made from a results file: no figure on it is typed by hand.

The page stands between two comments; the first names the results file it was made from.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from mpc.client.bench.drift import DEFAULT_LIMIT
from mpc.client.bench.machine import short_cpu
from mpc.client.bench.predictions import predictions_of
from mpc.client.bench.records import Results, Row
from mpc.client.bench.tables import arithmetic_sheet
from mpc.client.bench.units import bytes_text, count_text, ratio_text, seconds_text, significant
from mpc.errors import ConfigurationError
from mpc.params import parameter_set

__all__ = ["BEGIN", "END", "inserted", "page"]

BEGIN: Final = "<!-- costs of {name} -->"
END: Final = "<!-- end of costs -->"
_BETWEEN: Final = re.compile(r"<!-- costs of [^\n]*? -->\n.*?<!-- end of costs -->", re.DOTALL)


def page(results: Results, *, name: str) -> str:
    """The page between its comments.

    Args:
        results: A run.
        name: Name of its file, for the comment.
    """
    parts = [
        part
        for make in (_head, _operations, _sums, _queries, _lines, _scores, _models, _predictions)
        for part in make(results)
    ]
    return "\n".join([BEGIN.format(name=name), "", *parts, END])


def inserted(text: str, made: str) -> str:
    """A document with its page replaced.

    Raises:
        ConfigurationError: It has not exactly one place for it.
    """
    if len(_BETWEEN.findall(text)) != 1:
        raise ConfigurationError("", reason=f"there is not one page between {BEGIN.format(name='FILE')} and {END}")
    return _BETWEEN.sub(lambda _: made, text)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "|".join("---" if i < left else "---:" for i in range(len(columns))) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _rows(results: Results, prefix: str) -> list[Row]:
    return [r for r in results.rows if r.path.startswith(prefix)]


def _head(results: Results) -> Iterator[str]:
    machine, calibration = results.machine, results.calibration
    yield (
        f"Measured on {short_cpu(machine)}, {machine.cores} cores, {results.started[:10]}, commit `{machine.commit}`"
        f"{' with changes' if machine.dirty else ''}, {len(results.rows)} cases ({results.level}). Medians; every "
        "answer checked; plaintext measured in turns with the encrypted work. Bytes are those of ciphertexts: framing, "
        "signatures and TLS come on top."
    )
    if machine.settings:
        yield ""
        yield f"Set: {', '.join(f'`{name}` = {value}' for name, value in machine.settings.items())}."
    if calibration.limit > DEFAULT_LIMIT:
        yield ""
        yield f"Provisional: the machine was busy, the calibration loop moved by up to {calibration.worst:.0%}."
    yield ""


_CLEAR: Final = "insecure-clear-4096-t62"
_SHOWN: Final = ("encrypt", "encrypt-symmetric", "parse+add", "multiply-plain", "decrypt", "serialise", "parse")


def _operations(results: Results) -> Iterator[str]:
    sheet = arithmetic_sheet(results)
    if sheet is None:
        return
    wanted = ("subject", "bits", "threads", *(f"{o} ns" for o in _SHOWN), "B/value", "B/value symmetric")
    kept = [sheet.columns.index(name) for name in wanted if name in sheet.columns]
    head = ["", *(sheet.columns[i].removesuffix(" ns").replace("threads", "cores") for i in kept[1:])]
    title = "One operation: ns per value of a full ciphertext, wire bytes in and out, beside other libraries"
    yield from _table(title, head, [[cells[i] for i in kept] for cells in sheet.rows])


def _sums(results: Results) -> Iterator[str]:
    rows = [r for r in _rows(results, "peers/") if "party" in r.phases]
    if not rows:
        return
    cells = []
    for row in rows:
        values = row.values / float(row.labels["parties"])
        each = [significant(row.phases[role] / values * 1e9) for role in ("party", "coordinator", "recipient")]
        own = row.path.startswith("peers/sealroom/")
        name = f"Sealroom `{row.parameter_set}`" if own else f"{row.labels['library']} ({row.scheme})"
        cells.append((name, *each, significant(row.bytes_per_value), str(row.security_bits)))
    longest = f"{max(int(r.labels.get('length', 0)) for r in rows):,}"
    work = f"40-bit values, five parties, up to {longest} values each"
    title = f"One value of a sum: ns of processor time by role on one core, {work}"
    yield from _table(title, ("", "party", "coordinator", "recipient", "bytes sent", "security"), cells)
    fastest = min((r for r in rows if r.path.startswith("peers/sealroom/")), key=lambda r: r.ns_per_value, default=None)
    others = [r for r in rows if r.labels["library"] in {"tenseal-bfv", "tenseal-bfv-4096"}]
    if fastest is not None and others:
        best = min(others, key=lambda r: r.ns_per_value)
        ratios = ", ".join(
            f"{significant(_each(best, role) / _each(fastest, role))}x at the {role}"
            for role in ("party", "coordinator", "recipient")
        )
        yield (
            f"`{fastest.parameter_set}` against TenSEAL's fastest exact setting: {ratios}. Ours includes masks, "
            "digests, contribution counts and the validation of every byte; theirs does not."
        )
        yield ""


def _each(row: Row, role: str) -> float:
    return row.phases[role] / row.values


def _twins(row: Row, names: Sequence[str]) -> list[str]:
    return [seconds_text(row.twins[name].median_s) for name in names]


def _question(row: Row) -> str:
    query = str(row.labels["query"])
    return f"{query}, {row.labels['groups']:,} groups" if query == "by-product" else query


def _queries(results: Results) -> Iterator[str]:
    rows = _rows(results, "queries/")
    if not rows:
        return
    parties = int(rows[0].labels["parties"])
    different: dict[tuple[str, object], Row] = {}
    for r in rows:
        different.setdefault((_question(r), r.labels["rows"]), r)  # others ask the same of another table
    cells = [
        (
            _question(r),
            count_text(float(r.labels["rows"])),
            seconds_text(r.timing.median_s),
            *_twins(r, ("clear", "duckdb")),
            ratio_text(r.ratios["clear"]),
            bytes_text(r.wire.up_bytes / parties),
        )
        for r in different.values()
    ]
    head = (
        "query",
        "rows per party",
        "encrypted",
        "same plan in the clear",
        "DuckDB, pooled",
        "cost",
        "sent by a party",
    )
    yield from _table(
        "A SQL query of three parties, from the call to the answer, mutual TLS on one machine", head, cells
    )
    block = bytes_text(parameter_set(_CLEAR).ciphertext_bytes)
    yield (
        f"In the clear as under encryption a sum fills whole blocks: of {block} there, so that a short answer in the "
        "clear is not fewer bytes."
    )
    yield ""


def _lines(results: Results) -> Iterator[str]:
    rows = _rows(results, "protocols/sum-wan/")
    if not rows:
        return
    cells = [
        (
            f"{r.labels['delay_ms']} ms, {r.labels['megabits']} Mbit/s",
            str(r.labels["query"]),
            seconds_text(r.timing.median_s),
            *_twins(r, ("clear",)),
        )
        for r in rows
    ]
    head = ("line of every member (one way)", "query", "encrypted", "in the clear")
    yield from _table("The same over a wide area", head, cells, left=2)


def _scores(results: Results) -> Iterator[str]:
    rows = _rows(results, "protocols/score/")
    if not rows:
        return
    cells = [
        (
            f"{int(r.labels['rows']):,} items, d = {r.labels['dimensions']}",
            seconds_text(r.timing.median_s),
            seconds_text(r.phases["holder"]),
            *_twins(r, ("numpy",)),
            bytes_text(r.wire.up_bytes),
            bytes_text(r.wire.down_bytes),
        )
        for r in rows
        if "holder" in r.phases and "numpy" in r.twins
    ]
    head = ("catalogue", "one query, both sides", "of it the holder", "numpy, float32", "up", "down")
    yield from _table("Private scoring of a whole catalogue, noise flooding included, one core", head, cells)


def _models(results: Results) -> Iterator[str]:
    rows = [r for r in _rows(results, "learn/") if "ideal" in r.twins]
    if not rows:
        return
    cells = [
        (str(r.labels["model"]), seconds_text(r.timing.median_s), *_twins(r, ("ideal",)), ratio_text(r.ratios["ideal"]))
        for r in rows
    ]
    yield from _table(
        "A model, trained over encrypted sums and over a trusted adder; equal to the bit",
        ("model", "encrypted", "trusted adder", "cost"),
        cells,
    )


def _predictions(results: Results) -> Iterator[str]:
    found = predictions_of(results)
    if found is not None:
        yield found.text()
        yield ""
