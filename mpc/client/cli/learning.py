"""`sealroom train` and `sealroom model`: training over the room, and what to do with the models on this machine."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mpc.client.cli.terminal import JsonFlag, NoProgressFlag, QuietFlag, RoomOption, Terminal

if TYPE_CHECKING:
    from mpc.client.model_store import StoredModel
    from mpc.client.training import Step

__all__ = ["model", "train"]

model = typer.Typer(no_args_is_help=True, help="Models that you have trained: list, show, evaluate, recommend, export.")

NameArgument = Annotated[
    str, typer.Argument(help="The model's name, as `sealroom model list` shows it, or its folder.")
]


def _read_spec(path: Path) -> dict[str, Any]:
    """The mapping in a TOML or JSON file."""
    from mpc.errors import ConfigurationError

    try:
        text = path.read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a training spec: {error}") from None
    return found


def train(
    context: typer.Context,
    spec: Annotated[
        Path, typer.Argument(help="The training spec, TOML or JSON: kind, table, and the model's settings.")
    ],
    *,
    room: RoomOption = None,
    name: Annotated[
        str | None, typer.Option(help="Keep the model under this name; the spec's file name otherwise.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="A scheme or a parameter set instead of the planner's choice.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="Longest time for the job: 90s, 10m, 1h.")] = "1h",
    resume: Annotated[str, typer.Option(help="Go on with a job that was cut off, from its last checkpoint.")] = "",
    attempt: Annotated[int, typer.Option(help="With --resume: one more than the attempts so far.")] = 2,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what it would sum, cost and open to whom; nothing is sent.")
    ] = False,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Train a model over the room; every owner's rows stay where they are."""
    from mpc.client.cli.asking import open_profile
    from mpc.client.cli.formats import duration_s, report_data
    from mpc.client.client import Client
    from mpc.client.model_store import ModelStore

    terminal: Terminal = context.obj
    mapping, seconds = _read_spec(spec), duration_s(timeout)
    if explain:
        _explain(terminal, room, mapping, scheme)
        return
    with Client(open_profile(room)) as client:
        run = client.train(
            mapping,
            scheme=scheme,
            timeout_s=seconds,
            on_step=lambda step: _tell(terminal, step),
            resume=resume,
            attempt=attempt if resume else 1,
        )
        terminal.job = run.job
        terminal.note(f"[dim]job {run.job}; if it is cut off: sealroom train {escape(str(spec))} --resume {run.job}[/]")
        done = run.wait()
    stored = ModelStore().keep(name or spec.stem, done, job=run.job, spec=mapping)
    quality = dict(done.quality or {})
    data = {"job": run.job, "model": stored.name, "folder": str(stored.folder), "quality": quality}
    cost = f"{done.report.seconds:.1f} s, {len(done.report.participants)} parties, {done.report.scheme}"
    lines = [
        f"[green]✓[/] trained [bold]{escape(stored.name)}[/]: {cost}",
        *(escape(line) for line in done.model.explain().splitlines()),
        *(f"  {escape(key)}: {escape(_short(value))}" for key, value in quality.items()),
    ]
    following = [f"sealroom model show {stored.name}", f"sealroom model export {stored.name} -o {stored.name}.npz"]
    terminal.result({**data, "report": report_data(done.report)}, lines, following)


def _explain(terminal: Terminal, room: str | None, mapping: Mapping[str, Any], scheme: str | None) -> None:
    """Explain a training from the room's signed dictionary."""
    import msgspec

    from mpc.client.cli.asking import open_profile
    from mpc.errors import PlanError
    from mpc.learn import complete, explain_training, spec_from_mapping
    from mpc.plan.constants import calibrated_model

    wanted = spec_from_mapping(mapping)
    table = open_profile(room).manifest.dictionary.table(str(wanted.table))
    if table is None:
        raise PlanError("", reason="the training spec names no table of the room")
    found = explain_training(complete(wanted, table), table.parties, scheme=scheme, model=calibrated_model())
    terminal.result({"plan": msgspec.to_builtins(found)}, map(escape, found.text().splitlines()))


def _tell(terminal: Terminal, step: "Step") -> None:
    """One line a step: how far, what was measured, and how long it may still take."""
    if not terminal.progress:
        return
    metrics = "  ".join(f"{name} {_short(value)}" for name, value in step.metrics.items())
    left = f"  about {step.seconds_left:.0f} s left" if step.seconds_left and step.step < step.of else ""
    moved = f"{step.sent_bytes / 1e6:.1f} MB"
    terminal.note(
        f"[dim]step {step.step}/{step.of}  {step.seconds:.1f} s, {moved} per party{left}[/]  {escape(metrics)}"
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return f"{len(value)} entries (--json shows them)"
    return str(value)


@model.command("list")
def list_(context: typer.Context, *, _json: JsonFlag = False, _quiet: QuietFlag = False) -> None:
    """The models on this machine."""
    from mpc.client.model_store import ModelStore

    models = ModelStore().all()
    rows = [{"name": m.name, "kind": m.kind, "trained_at": m.trained_at, "job": m.job} for m in models]
    lines = [f"{r['name']:24} {r['kind']:12} {r['trained_at']}  job {r['job'][:8]}" for r in rows]
    context.obj.result({"models": rows}, map(escape, lines or ["no model has been trained here"]))


def _stored(name: str) -> "StoredModel":
    from mpc.client.model_store import ModelStore

    return ModelStore().find(name)


@model.command("show")
def show(context: typer.Context, name: NameArgument, *, _json: JsonFlag = False, _quiet: QuietFlag = False) -> None:
    """What a model is, how it was trained, and how good it is on the declared hold-out."""
    stored = _stored(name)
    lines = [
        *stored.load().explain().splitlines(),
        f"trained {stored.trained_at} in job {stored.job}",
        f"spec: {json.dumps(stored.spec)}",
        *(f"{key}: {_short(value)}" for key, value in stored.quality.items()),
    ]
    data = {"name": stored.name, "kind": stored.kind, "spec": stored.spec, "quality": stored.quality, "job": stored.job}
    context.obj.result(data, map(escape, lines))


@model.command("evaluate")
def evaluate(
    context: typer.Context,
    name: NameArgument,
    *,
    room: RoomOption = None,
    buckets: Annotated[int | None, typer.Option(help="Measure on one row in so many, instead of the spec's.")] = None,
    seed: Annotated[int, typer.Option(help="With --buckets: which rows.")] = 0,
    column: Annotated[
        list[str] | None, typer.Option(help="With --buckets, for models over features: the key that is split by.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="A scheme or a parameter set instead of the planner's choice.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="Longest time for the job: 90s, 10m, 1h.")] = "10m",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Measure a model over the room again, each party on its own held-out rows."""
    from mpc.client.cli.asking import open_profile
    from mpc.client.cli.formats import duration_s, report_data
    from mpc.client.client import Client
    from mpc.learn import Holdout

    stored = _stored(name)
    held = None if buckets is None else Holdout(buckets, seed, tuple(column or ()))
    with Client(open_profile(room)) as client:
        found = client.evaluate(stored.load(), stored.spec, holdout=held, scheme=scheme, timeout_s=duration_s(timeout))
    lines = [escape(f"{key}: {_short(value)}") for key, value in found.quality.items()]
    data = {"model": stored.name, "quality": dict(found.quality), "report": report_data(found.report)}
    context.obj.result(data, lines)


@model.command("recommend")
def recommend(
    context: typer.Context,
    name: NameArgument,
    history: Annotated[list[str], typer.Argument(help="Items that the person knows.")],
    *,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Recommend items to somebody with this history; computed here, nothing is sent."""
    from mpc.errors import ConfigurationError
    from mpc.learn import RecommenderModel

    found = _stored(name).load()
    if not isinstance(found, RecommenderModel):
        raise ConfigurationError(f"{name} is a {found.kind}, which recommends nothing")
    known: list[str | int] = [
        int(h) if found.items.dtype.kind in "iu" and h.lstrip("-").isdigit() else h for h in history
    ]
    items = found.recommend(known, k=k)
    rows = [{"item": r.item, "score": float(r.score)} for r in items]
    context.obj.result({"recommendations": rows}, [escape(f"{r['item']!s:24} {r['score']:.4f}") for r in rows])


@model.command("export")
def export(
    context: typer.Context,
    name: NameArgument,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.npz or FILE.safetensors.")],
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Write a model's arrays for other programs, with a description beside them."""
    from mpc.client.model_store import export_model

    described = export_model(_stored(name), output)
    lines = [f"[green]✓[/] {escape(str(output))}, described in {escape(str(described))}"]
    context.obj.result({"arrays": str(output), "description": str(described)}, lines)
