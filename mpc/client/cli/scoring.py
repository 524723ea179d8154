"""`sealroom score` and `sealroom catalogues`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mpc.client.cli.asking import BandwidthOption, LatencyOption, session, stated_line, stated_output
from mpc.client.cli.terminal import JsonFlag, NoProgressFlag, QuietFlag, RoomOption, Terminal, envelope, print_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mpc.client.cli.formats import Format
    from mpc.client.score_answer import ScoreAnswer
    from mpc.client.score_plan import OfferedCatalogue

__all__ = ["catalogues", "score"]

CatalogueOption = Annotated[str, typer.Option("--catalogue", "-c", help="Name of the catalogue, or PARTY/NAME.")]


def catalogues(
    context: typer.Context, *, room: RoomOption = None, _json: JsonFlag = False, _quiet: QuietFlag = False
) -> None:
    """List the catalogues that parties let you score: items, dimensions, and how many queries you have left."""
    from mpc.client.answer import table_text

    with session(room) as (analyst, runner):
        found = runner.run(analyst.catalogues())
    names = ("catalogue", "items", "dimensions", "metric", "queries left", "of", "labels", "ckks")
    rows = [
        (
            o.path,
            o.rows,
            o.dimensions,
            o.metric,
            o.remaining,
            o.limit,
            *("yes" if x else "no" for x in (o.labels, o.real)),
        )
        for o in found
    ]
    text = table_text(names, rows) if rows else "no party lets you score anything"
    following = [f"sealroom score --catalogue {found[0].path} query.npy"] if found else []
    context.obj.result({"catalogues": [_data(o) for o in found]}, map(escape, text.splitlines()), following)


def _data(found: "OfferedCatalogue") -> dict[str, Any]:
    return {"catalogue": found.path, **{n: getattr(found, n) for n in found.__slots__ if n != "offer"}}


def score(
    context: typer.Context,
    vectors: Annotated[
        str,
        typer.Argument(help="The query: an .npy file, or numbers in a text file, a line a query; - is standard input."),
    ],
    *,
    catalogue: CatalogueOption,
    room: RoomOption = None,
    k: Annotated[int, typer.Option("-k", help="How many of the best items to print, at most.", min=1)] = 10,
    scheme: Annotated[str, typer.Option(help="rlwe, or ckks where the holder offers it.")] = "rlwe",
    bandwidth: BandwidthOption = None,
    latency: LatencyOption = None,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Bring a query of an inner product to the declared norm, its scores back.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="Longest time for the job: 90s, 10m, 1h.")] = "10m",
    explain: Annotated[bool, typer.Option("--explain", help="Show what would happen, and ask nothing.")] = False,
    format_: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all scores to an .npy file.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Tell cost, precision and who learned what.")] = False,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Score a party's catalogue for a vector that nobody else sees; only you can open the scores."""
    terminal: Terminal = context.obj
    wanted, seconds = stated_output(format_, timeout, output)
    query = _read(vectors)
    with session(room) as (analyst, runner):
        if explain:
            queries = 1 if query.ndim == 1 else len(query)
            plan = runner.run(
                analyst.explain_score(catalogue, queries=queries, scheme=scheme, line=stated_line(bandwidth, latency))
            )
            terminal.result({"plan": plan.to_mapping()}, map(escape, plan.text().splitlines()))
            return
        work = analyst.score(
            query, catalogue, k, scheme=scheme, line=stated_line(bandwidth, latency), rescale=rescale, timeout_s=seconds
        )
        answer = runner.run(work)
    _show(terminal, answer, wanted, output, report=report)


def _show(terminal: Terminal, answer: "ScoreAnswer", wanted: "Format", output: Path | None, *, report: bool) -> None:
    import numpy as np

    from mpc.client.cli.formats import render, report_data

    if output is not None:
        with output.open("wb") as sink:
            np.save(sink, answer.scores, allow_pickle=False)
        terminal.note(f"[green]✓[/] all scores written to {escape(str(output))}")
    if terminal.json:
        data = {"columns": answer.columns, "rows": answer.rows, "report": report_data(answer.report)}
        print_json({**envelope("ok", 0), "job": answer.report.job, **data})
        return
    print(render(answer, wanted))  # noqa: T201 - the rows, exactly
    if report:
        terminal.err.print(f"\n{escape(str(answer.report))}")
    elif terminal.err.is_terminal:
        left = answer.report.remaining
        terminal.note(f"[dim]{answer.report.rows:,} items, {answer.report.seconds:.2f} s, {left} queries left[/]")


def _read(name: str) -> "NDArray[np.float64]":
    """A vector or a batch of them.

    Raises:
        ConfigurationError: It is neither.
    """
    import io

    import numpy as np

    from mpc.client.score_query import query_vectors
    from mpc.errors import ConfigurationError, ParameterError

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        if data.startswith(b"\x93NUMPY"):
            found = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            rows = list(_numbers(data.decode("utf-8")))
            found = rows[0] if len(rows) == 1 else rows
        return query_vectors(found)
    except ParameterError as error:
        raise ConfigurationError(f"{name}: {error.detail}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ConfigurationError(f"{name} holds no vectors: {error}") from None


def _numbers(text: str) -> Iterator[list[float]]:
    """Lines of numbers, apart by commas or spaces; brackets of a JSON list do not matter."""
    for line in text.splitlines():
        words = line.translate(str.maketrans("[],;", "    ")).split()
        if words:
            yield [float(word) for word in words]
