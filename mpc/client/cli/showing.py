"""`sealroom demo`: the whole system on one machine, told as a story and checked against plaintext."""

import datetime as dt
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mpc.client.cli.terminal import JsonFlag, NoProgressFlag, Terminal, command_line, envelope, print_json

if TYPE_CHECKING:
    from mpc.client.answer import Answer
    from mpc.client.client import Client
    from mpc.client.demo import Agreement, Question
    from mpc.client.demo_recommender import Comparison
    from mpc.client.local import LocalRoom

__all__ = ["demo"]

_BAR = 40


def demo(
    context: typer.Context,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the room up until Ctrl-C.", show_default=False)] = False,
    _json: JsonFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Run three retailers, a coordinator and an analyst on this machine, and check their answers."""
    from mpc.errors import IntegrityError

    story = _Story(context.obj, keep=keep)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a plain kill cleans up, too
    try:
        good = story.run()
    finally:
        signal.signal(signal.SIGTERM, previous)
    if not good:
        raise IntegrityError("an encrypted answer of the demo differs from the plaintext one")


class _Story:
    """The demo, told step by step."""

    def __init__(self, terminal: Terminal, *, keep: bool) -> None:
        self.terminal = terminal
        self.keep = keep
        self.answers: list[Answer] = []
        self.again: list[Answer] = []
        self.clear: list[Answer] = []
        self.agreements: list[Agreement] = []
        self.recommender: Comparison | None = None
        self.began = time.monotonic()

    def say(self, line: str = "") -> None:
        """A line of the story; a run with --json tells none."""
        if not self.terminal.json:
            self.terminal.out.print(line)

    def title(self, text: str) -> None:
        """A heading."""
        self.say()
        self.say(f"[bold cyan]{text}[/]")

    def run(self) -> bool:
        """Tell it all; returns whether every answer agrees with the plaintext one."""
        from mpc.client import connect
        from mpc.client.demo_data import write_orders
        from mpc.client.demo_recommender import write_baskets
        from mpc.client.local import LocalRoom

        with tempfile.TemporaryDirectory(prefix="sealroom-demo-") as folder:
            self.say("[bold]Sealroom[/]  questions over the orders of three retailers. Nobody shows a row.")
            files, baskets = write_orders(Path(folder)), write_baskets(Path(folder))
            self._tell_parties(files)
            room = LocalRoom({name: {"orders": path, "baskets": baskets[name]} for name, path in files.items()})
            started = time.monotonic()
            with ExitStack() as closing:
                closing.enter_context(room)
                closing.push(self._logs_on_failure(room))
                processes = self._tell_start(room, time.monotonic() - started)
                client = connect(room.folder / "analyst")
                closing.callback(client.close)
                self._tell_certificates(room, client)
                self._warm(client)
                self._ask_all(client, list(files.values()))
                self._train(client, baskets)
                self._tell_seen(room)
                self._tell_cost()
                if self.keep:
                    self._wait(room)
            return self._end(processes)

    def _logs_on_failure(self, room: "LocalRoom") -> Callable[..., None]:
        """What the nodes logged, if something fails: their files are about to go."""

        def show(kind: type[BaseException] | None, _error: BaseException | None, _trace: object) -> None:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                return
            for member in room.manifest.members:
                if log := room.log(member.name).strip():
                    lines = "\n".join(log.splitlines()[-12:])
                    self.terminal.note(f"[dim]log of {member.name}\n{escape(lines)}[/]\n")

        return show

    def _tell_parties(self, files: dict[str, Path]) -> None:
        from mpc.client.demo_data import RETAILERS

        self.title("Who owns what")
        for retailer in RETAILERS:
            size = files[retailer.name].stat().st_size
            regions = ", ".join(retailer.regions)
            self.say(f"  {retailer.name:<9} {retailer.rows:>6,} rows, {size / 1e6:.1f} MB, sells in {regions}")
        self.say("  [dim]generated, the same in every run: with returns, guests and missing values[/]")

    def _tell_start(self, room: "LocalRoom", seconds: float) -> dict[str, int]:
        from mpc.parties import Role

        names = [m.name for m in room.manifest.members if m.role is not Role.ANALYST]
        processes = {name: room.process(name).pid for name in names}
        self.title(f"Five members, four processes, up in {seconds:.1f} s")
        for name in names:
            member = room.member(name)
            self.say(f"  {name:<12} {member.role.value:<12} {member.endpoint:<18} process {processes[name]}")
        self.say(f"  {'analyst':<12} {'analyst':<12} [dim]this process; it alone can open answers[/]")
        return processes

    def _tell_certificates(self, room: "LocalRoom", client: "Client") -> None:
        from mpc.client.certificates import facts
        from mpc.keys.files import KeyFolder

        self.title("Certificates: every member is its own authority, named in the signed room")
        self.say(f"  [dim]{'SPIFFE id':<41}  {'issued by':<28}  valid[/]")
        for member in room.manifest.members:
            leaf = facts(KeyFolder(room.folder / member.name / "keys").leaf().certificate)
            days = (leaf.expires - dt.datetime.now(dt.UTC)).days
            self.say(f"  {leaf.spiffe:<41}  {leaf.issuer:<28}  {days} d")
        group = client.analyst.key_exchange
        self.say(f"  mutual TLS everywhere; key exchange negotiated: [bold]{group}[/]")

    def _warm(self, client: "Client") -> None:
        """One question before the first, so that no time below contains the loading or making of kernels."""
        from mpc.runtime.warming import kernel_cache

        cache = kernel_cache()
        if cache is None or not any(cache.rglob("*.nbc")):
            self.say()
            self.say("[dim]Compiling the kernels for this processor, once; some seconds.[/]")
        self._ask(client, "SELECT COUNT(*) AS n FROM orders")

    def _ask_all(self, client: "Client", files: Sequence[Path]) -> None:
        from mpc.client.demo import QUESTIONS, agreement, plaintext_answer

        for number, question in enumerate(QUESTIONS, 1):
            self.title(f"Question {number}. {question.title}")
            self.say(f"  {question.about}")
            self.say()
            for line in question.sql.splitlines():
                self.say(f"  [green]{escape(line)}[/]")
            self.say()
            for line in _plan_lines(client, question.sql):
                self.say(f"  [dim]{escape(line)}[/]")
            answer = self._ask(client, question.sql)
            columns, rows = plaintext_answer(question.sql, "orders", files)
            found = agreement(answer, columns, rows)
            self.answers.append(answer)
            self.agreements.append(found)
            self.again.append(client.sql(question.sql))
            self.clear.append(min((client.sql(question.sql, scheme="clear") for _ in range(2)), key=_seconds))
            self.say()
            for line in _beside(answer, rows, question):
                self.say(f"  {line}")
            self._tell_agreement(found)

    def _train(self, client: "Client", baskets: dict[str, Path]) -> None:
        """One recommender over all baskets; bit for bit the one that the pooled baskets give."""
        from mpc.client.demo_recommender import SPEC, compare

        self.title("A recommender over all three shops, from one encrypted Gram matrix (EASE)")
        self.say("  Shoppers and baskets stay where they are; products count with 5 shoppers at 2 shops.")
        run = client.train(SPEC)
        done = run.wait()
        table = next(t for t in client.tables() if t.name == SPEC.table)
        self.recommender = found = compare(done.model, done.quality or {}, baskets, table)  # type: ignore[arg-type]
        products = len(done.model.arrays()["items"])
        self.say(f"  {products} products, {products * (products + 1) // 2:,} sums; {done.report.seconds:.1f} s")
        mark = "[bold green]✓ bit for bit the model of the pooled baskets[/]"
        self.say(f"  {mark if found.identical else '[bold red]✗ differs from the model of the pooled baskets[/]'}")
        alone = ", ".join(f"{name} {value:.3f}" for name, value in found.alone.items())
        self.say(f"  held-out purchases, NDCG@100: together [bold]{found.together:.3f}[/]; alone {alone}")

    def _ask(self, client: "Client", sql: str) -> "Answer":
        from mpc.client.cli.progress import JobProgress

        with JobProgress(self.terminal, tuple(client.tables()[0].parties)) as progress:
            return client.sql(sql, watcher=progress)

    def _tell_agreement(self, found: "Agreement") -> None:
        if not found.holds:
            self.say(f"  [bold red]✗ differs from the pooled plaintext in {', '.join(found.wrong)}[/]")
            return
        close = f", {found.close} to within {found.largest:.0e}" if found.close else ""
        self.say(f"  [bold green]✓ equal to the pooled plaintext[/]: {found.exact} values identical{close}")

    def _tell_seen(self, room: "LocalRoom") -> None:
        from mpc.client.demo import what_was_seen

        self.title("What each member saw, all questions together")
        reports = [a.report for a in self.answers]
        analyst = "analyst"
        self.say(f"  [dim]{'':<12} {'sent':>14}  {'received':>14}  opened[/]")
        for seen in what_was_seen(reports, room.manifest.parties, analyst, room.manifest.coordinator.name):
            sent = f"{seen.sent_ciphertexts} in {seen.sent_bytes / 1e3:,.0f} kB"
            received = f"{seen.received_ciphertexts} in {seen.received_bytes / 1e3:,.0f} kB"
            opened = f"{seen.opened}: {seen.opened_what}" if seen.opened else f"none: {seen.opened_what}"
            self.say(f"  {seen.member:<12} {sent:>14}  {received:>14}  {opened}")
        self.say("  [dim]Ciphertexts. Under each lies a second lock, masks that cancel in the sum:[/]")
        self.say("  [dim]with the analyst's key, too, the coordinator would see no party's numbers.[/]")

    def _tell_cost(self) -> None:
        self.title("The price of encryption: the same plan without it, the faster of two runs")
        self.say(f"  [dim]{'':<12} {'encrypted':>10} {'clear':>10}[/]")
        for number, (one, two, other) in enumerate(zip(self.answers, self.again, self.clear, strict=True), 1):
            encrypted = min(_seconds(one), _seconds(two))
            cells = f"{encrypted * 1000:>7.0f} ms {_seconds(other) * 1000:>7.0f} ms"
            self.say(f"  question {number:<3} {cells}")

    def _wait(self, room: "LocalRoom") -> None:
        """Keep the room up until Ctrl-C or SIGTERM."""
        self.title("The room stays up until Ctrl-C. In another terminal:")
        at = str(room.folder / "analyst")
        for words in (
            ("query", "--room", at, "SELECT category, COUNT(*) AS n FROM orders GROUP BY category ORDER BY n DESC"),
            ("explain", "--room", at, "SELECT AVG(price) AS mean FROM orders"),
            ("doctor", "--room", at),
        ):
            self.say(f"  {escape(command_line('sealroom', *words))}")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            self.say()

    def _end(self, processes: dict[str, int]) -> bool:
        left = [name for name, pid in processes.items() if _group_lives(pid)]
        trained = self.recommender
        good = all(a.holds for a in self.agreements) and trained is not None and trained.identical
        seconds = time.monotonic() - self.began
        if self.terminal.json:
            print_json({**envelope("ok" if good else "error", 0 if good else 8), **self._data(left, seconds)})
            return good
        self.say()
        if left:
            self.say(f"[yellow]still running: {', '.join(left)}[/]")
        else:
            self.say(f"[green]✓[/] {seconds:.0f} s in all; every process has ended and no file is left")
        self.say()
        self.say("[bold]Next[/]")
        self.say("  sealroom demo --keep                  ask your own questions of these three")
        self.say("  sealroom room new acme                a room of your own, step by step")
        self.say("  sealroom doctor                       is this machine ready?")
        return good

    def _data(self, left: list[str], seconds: float) -> dict[str, Any]:
        from mpc.client.demo import QUESTIONS

        rows = [
            {
                "sql": question.sql,
                "equal": found.holds,
                "identical_values": found.exact,
                "largest_relative_difference": found.largest,
                "seconds": min(_seconds(answer), _seconds(again)),
                "clear_seconds": _seconds(clear),
                "scheme": answer.report.scheme,
                "rows": len(answer),
            }
            for question, answer, again, clear, found in zip(
                QUESTIONS, self.answers, self.again, self.clear, self.agreements, strict=True
            )
        ]
        trained = self.recommender
        model = {} if trained is None else {"identical": trained.identical, "ndcg_100": trained.together}
        return {"questions": rows, "recommender": model, "left_running": left, "seconds": seconds}


def _seconds(answer: "Answer") -> float:
    return answer.report.seconds


def _plan_lines(client: "Client", sql: str) -> Iterator[str]:
    """EXPLAIN in a few lines."""
    from mpc.plan import explain

    analyst = client.analyst
    found = explain(analyst.compile(sql))
    yield f"plan {found.digest[:12]}, recompiled by every party from the signed text; {found.scheme}"
    for step in found.steps:
        to = f" -> {step.recipient}" if step.recipient else ""
        yield f"  {step.step:<13} {step.what}{to}"


def _beside(answer: "Answer", rows: Sequence[Sequence[Any]], question: "Question") -> Iterator[str]:
    """The answer, and after a bar the plaintext one; or bars."""
    from mpc.client.answer import table_text

    ours = table_text(answer.columns, [[_day(v) for v in row] for row in answer.values]).splitlines()
    if question.bars:
        values = [int(v) for v in answer.column(question.bars)]
        top = max(values, default=1)
        bars = ["", "", *("█" * round(_BAR * v / top) for v in values)]
        yield from (f"{escape(line)}  [cyan]{bar}[/]" for line, bar in zip(ours, bars, strict=True))
        return
    measured = [i for i, name in enumerate(answer.columns) if i]
    theirs = table_text([answer.columns[i] for i in measured], [[r[i] for i in measured] for r in rows]).splitlines()
    width = max(map(len, ours))
    other = max(map(len, theirs))
    yield f"[bold]{'encrypted':<{width}}[/]  [dim]│ {'pooled plaintext (DuckDB)':<{other}}[/]"
    for one, two in zip(ours, theirs, strict=True):
        yield f"{escape(one):<{width}}  [dim]│ {escape(two)}[/]"


def _day(value: Any) -> Any:
    """A midnight as its day."""
    midnight = isinstance(value, dt.datetime) and value.time() == dt.time()
    return value.date() if midnight else value


def _group_lives(process: int) -> bool:
    """Whether any process of a node's group is still there."""
    try:
        os.killpg(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
